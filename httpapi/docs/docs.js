// The page: it reads the schema and shows what is in it.

import { operations, use } from "./schema.js";
import { make } from "./page.js";
import { show, verb } from "./operation.js";
import { authorize, authorized, prove, send, target } from "./send.js";

const main = document.getElementById("operations");
const find = document.getElementById("find");
const contents = document.getElementById("contents");
const account = document.getElementById("account");
const credentials = document.getElementById("credentials");

// credentialForms asks for a token, or gets one for a name and a password where there are accounts.
function credentialForms(login, server, scheme) {
  prove(scheme);
  account.hidden = scheme.in === "cookie"; // the browser has it, or the host's own pages make it
  const token = make("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  const said = make("p", { class: "note", role: "status" });
  const done = (value) => {
    authorize(value);
    toggle(!authorized());
    account.textContent = authorized() ? "Authorized" : "Authorize";
  };
  const forms = [make("form", { submit: (e) => { e.preventDefault(); done(token.value); } },
    make("h2", {}, "Access token"),
    make("label", { class: "field" }, make("span", {}, "Token"), token),
    make("button", { class: "button primary" }, "Use it"),
    make("p", { class: "note" }, `It is sent as ${scheme.in === "header" ? scheme.name : "Authorization: Bearer"}, and forgotten when this page is left.`))];
  if (login) {
    const name = make("input", { autocomplete: "username", autocapitalize: "off", required: true });
    const password = make("input", { type: "password", autocomplete: "current-password", required: true });
    forms.push(make("form", { submit: async (e) => {
      e.preventDefault();
      const outcome = await send(target(login, server, [], JSON.stringify({ username: name.value, password: password.value })));
      password.value = "";
      if (outcome.status !== 200) {
        said.className = "note bad";
        said.textContent = outcome.error || JSON.parse(outcome.body).detail;
        return;
      }
      token.value = JSON.parse(outcome.body).access;
      said.textContent = "";
      done(token.value);
    } },
    make("h2", {}, "Or log in"),
    make("label", { class: "field" }, make("span", {}, "Username"), name),
    make("label", { class: "field" }, make("span", {}, "Password"), password),
    make("button", { class: "button primary" }, "Log in"), said));
  }
  credentials.replaceChildren(...forms);
}

function toggle(open) {
  credentials.hidden = !open;
  account.setAttribute("aria-expanded", String(open));
  if (open) credentials.querySelector("input").focus();
  else account.focus(); // and not in a field that cannot be seen, which would take what is typed next
}

// entries are the links to operations and the words that they are found by.
function index(groups) {
  const entries = [];
  for (const [tag, all] of groups) {
    const links = all.map((o) => {
      const link = make("a", { href: `#${o.operationId}` }, verb(o.method), make("span", {}, o.summary));
      entries.push({ link, words: `${o.method} ${o.path} ${o.summary} ${o.operationId}`.toLowerCase() });
      return link;
    });
    contents.append(make("section", {}, make("h3", {}, tag), links));
  }
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    document.body.classList.toggle("finding", wanted !== "");
    for (const e of entries) e.link.hidden = !wanted.split(/\s+/).every((w) => e.words.includes(w));
    for (const section of contents.children) section.hidden = !section.querySelector("a:not([hidden])");
  });
  let entered = false; // here, and not in a form that had the focus before
  find.addEventListener("keydown", (event) => { entered = event.key === "Enter"; });
  // Once the key is up: otherwise the rest of the stroke presses what gets the focus, and closes it again.
  find.addEventListener("keyup", (event) => {
    if (!entered || event.key !== "Enter") return;
    entered = false;
    const hit = entries.find((e) => !e.link.hidden);
    if (hit) hit.link.click();
  });
}

// reveal opens the operation that the address names.
function reveal() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (const link of contents.querySelectorAll("a")) {
    if (link.getAttribute("href") === location.hash) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (!named || !named.classList.contains("operation")) return;
  named.open = true;
  named.scrollIntoView();
  named.querySelector("summary").focus({ preventScroll: true });
}

async function begin() {
  const response = await fetch(document.getElementById("schema").href, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`The schema is not there: ${response.status}.`);
  const schema = await response.json();
  use(schema);
  const server = schema.servers[0].url.replace(/\/$/, "");
  const all = operations(schema);
  const groups = schema.tags.map(({ name }) => [name, all.filter((o) => o.tag === name)]);
  const intro = make("section", { class: "intro" }, make("h1", {}, `${schema.info.title} API`),
    schema.info.description.split("\n\n").map((p) => make("p", {}, p.replaceAll("\n", " "))));
  main.replaceChildren(intro, ...groups.map(([tag, group]) =>
    make("section", { class: "group", "aria-labelledby": `group-${tag}` }, make("h2", { id: `group-${tag}` }, tag), group.map((o) => show(o, server)))));
  index(groups);
  credentialForms(all.find((o) => o.operationId === "login"), server, Object.values(schema.components.securitySchemes)[0]);
  account.addEventListener("click", () => toggle(credentials.hidden));
  addEventListener("hashchange", reveal);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !credentials.hidden) toggle(false);
    if (event.key === "/" && !event.target.matches("input, textarea, select")) { event.preventDefault(); find.focus(); }
  });
  reveal();
}

begin().catch((error) => {
  main.replaceChildren(make("p", { class: "loading bad", role: "alert" }, error.message));
});
