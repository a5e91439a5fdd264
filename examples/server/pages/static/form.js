// Forms in dialogs: they send, wait, and show a problem document beside the fields that it names.

let made = 0;

function clear(form) {
  const general = form.querySelector("[data-problem]");
  general.hidden = true;
  general.textContent = "";
  for (const note of form.querySelectorAll(".wrong")) note.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function show(form, problem) {
  let first = null;
  const rest = [];
  for (const field of problem.fields || []) {
    const input = form.elements.namedItem(field.field || "");
    if (!input) {
      rest.push(`${field.field || field.parameter || field.header}: ${field.detail}`);
      continue;
    }
    const note = document.createElement("span");
    note.className = "wrong";
    note.id = `wrong-${++made}`;
    note.textContent = field.detail;
    input.after(note);
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", note.id);
    first ||= input;
  }
  if (!first || rest.length > 0) {
    const general = form.querySelector("[data-problem]");
    general.textContent = rest.length > 0 ? rest.join(" ") : problem.text || "Something in this page failed. Reload it, and try again.";
    general.hidden = false;
  }
  (first || form.elements[0]).focus();
}

// dialogForm wires the form of a dialog: submit gets its values, and the dialog closes when it succeeds. It returns a function that
// opens the dialog afresh.
export function dialogForm(dialog, submit, closed = () => {}) {
  const form = dialog.querySelector("form");
  const button = form.querySelector("[type=submit]");
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    clear(form);
    try {
      await submit(Object.fromEntries(new FormData(form)));
      dialog.close("done");
    } catch (problem) {
      if (problem.status === undefined) console.error(problem);
      show(form, problem);
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  });
  form.querySelector("[data-close]").addEventListener("click", () => dialog.close(""));
  dialog.addEventListener("close", () => {
    form.reset();
    clear(form);
    closed(dialog.returnValue === "done");
  });
  return () => {
    dialog.returnValue = "";
    clear(form);
    dialog.showModal();
    form.querySelector("input").focus();
  };
}
