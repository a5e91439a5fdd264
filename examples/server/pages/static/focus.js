// The focus after an action.

// refocus focuses an element if the one that has the focus cannot be seen any more. Without it the focus falls to the body, and the
// next key begins at the top of the page.
export function refocus(element) {
  const { activeElement } = document;
  if (activeElement === null || activeElement === document.body || !activeElement.checkVisibility()) element.focus();
}
