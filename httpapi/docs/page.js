// Elements, and JSON in colours. Everything that comes from outside is put in as text.

// make makes an element. Attributes are set, functions listen, children are nodes or texts.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined && value !== "") element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((c) => c !== undefined && c !== ""));
  return element;
}

// marked turns text between backquotes into code.
export function marked(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

// pretty shows JSON in colours, and anything else as it is.
export function pretty(text) {
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return make("pre", { tabindex: "0" }, text);
  }
  const pre = make("pre", { tabindex: "0" });
  const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;
  let at = 0;
  for (const token of shown.matchAll(tokens)) {
    pre.append(shown.slice(at, token.index));
    at = token.index + token[0].length;
    const kind = token[2] ? "k" : token[1] ? "s" : token[3] ? "n" : "w";
    pre.append(make("span", { class: kind }, token[1] || token[0]), token[2] || "");
  }
  pre.append(shown.slice(at));
  return pre;
}

// century names the hundred that a status is in, for its colour.
export const century = (status) => ({ 4: "fourth", 5: "fifth" })[String(status)[0]] || "";
