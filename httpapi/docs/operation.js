// One operation: what it is, what it answers, and a form to try it.

import { bounds, example, nameOf, resolve, type } from "./schema.js";
import { century, make, marked, pretty } from "./page.js";
import { send, shell, target } from "./send.js";

export const verb = (method) => make("span", { class: `verb ${method}` }, method === "delete" ? "DEL" : method.toUpperCase());

const path = (text) => make("span", { class: "path" }, text.split(/(\{[a-z]+\})/).map((part) => (part.startsWith("{") ? make("b", {}, part) : part)));

// show returns an operation, closed. What is inside is made when it is opened for the first time.
export function show(operation, server) {
  const details = make("details", { class: "operation sheet", id: operation.operationId },
    make("summary", {}, verb(operation.method), path(server + operation.path), make("span", { class: "sum" }, operation.summary)));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(inside(operation, server));
  });
  return details;
}

function inside(operation, server) {
  const body = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const tags = [who(operation.security)];
  const about = make("div", {},
    operation.description ? make("p", {}, marked(operation.description)) : "",
    make("div", { class: "tags" }, tags.map((t) => make("span", { class: "tag" }, t))),
    body ? make("div", {}, make("h4", {}, "Body"), members(body)) : "",
    make("div", {}, make("h4", {}, "Answers"), Object.entries(operation.responses).map(([status, response]) => answer(status, response))));
  return make("div", { class: "inside" }, make("div", {}, trial(operation, body, server)), about);
}

function who(security) {
  if (security.length === 0) return "no token: the body is the credential";
  return security.some((s) => Object.keys(s).length === 0) ? "everybody, with or without a token" : "needs an access token";
}

// answer shows what comes with a status.
function answer(status, reference) {
  const response = resolve(reference);
  const headers = Object.entries(response.headers || {});
  const [media, content] = Object.entries(response.content || {})[0] || [];
  return make("details", { class: `answer ${century(status)}` },
    make("summary", {}, make("code", {}, status), make("span", {}, marked(reference.description || response.description))),
    make("div", {},
      headers.length ? make("ul", { class: "members" }, headers.map(([name, h]) => member(name, { ...h.schema, description: h.description }, h.required, true))) : "",
      content ? make("div", {}, make("h4", {}, `${nameOf(content.schema)} as ${media}`), members(content.schema)) : ""));
}

// members lists those of an object, and of objects in it as far down as people read.
function members(reference, depth = 0) {
  const schema = resolve(reference);
  const required = schema.required || [];
  return make("ul", { class: "members" }, Object.entries(schema.properties || {}).map(([name, p]) => member(name, p, required.includes(name), false, depth)));
}

function member(name, reference, required, header, depth = 0) {
  const schema = resolve(reference);
  const inner = [reference, schema.items, ...(schema.anyOf || [])].find((s) => s && resolve(s).properties);
  const notes = [type(reference), bounds(reference), required && !header ? "required" : "", schema.readOnly ? "read-only" : ""].filter(Boolean);
  return make("li", {},
    make("span", { class: "head" }, make("code", {}, name), make("span", { class: "type" }, notes.join(" · "))),
    reference.description || schema.description ? make("span", { class: "doc" }, marked(reference.description || schema.description)) : "",
    inner && depth < 3 ? members(inner, depth + 1) : "");
}

// trial is the form that sends a request.
function trial(operation, body, server) {
  const fields = operation.parameters.map((p) => ({ ...p, control: control(p) }));
  const row = (f) => make("label", { class: "field" },
    make("span", {}, make("code", {}, f.name), f.required ? make("span", { class: "req" }, " required") : ""),
    f.control, make("span", { class: "hint" }, marked([f.description, bounds(f.schema)].filter(Boolean).join(" "))));
  const first = fields.filter((f) => f.required), rest = fields.filter((f) => !f.required);
  const text = body && make("textarea", { spellcheck: "false", "aria-label": "Body" });
  if (text) text.value = JSON.stringify(example(body), null, 2);
  const result = make("div", { class: "result", role: "status", "aria-live": "polite" });
  const button = make("button", { class: "button primary", type: "submit" }, "Send");
  const request = () => target(operation, server, fields.map((f) => ({ ...f, value: f.control.value })), text && text.value);
  const copy = make("button", { class: "button", type: "button", click: async () => {
    const command = shell(request());
    try {
      await navigator.clipboard.writeText(command);
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy as curl"; }, 1500);
    } catch {
      result.replaceChildren(make("pre", { tabindex: "0" }, command));
    }
  } }, "Copy as curl");
  const form = make("form", { class: "try", submit: async (event) => {
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    result.replaceChildren(...report(await send(request())));
    button.removeAttribute("aria-busy");
  } },
  make("h4", {}, "Try it"), first.map(row),
  text ? make("label", { class: "field" }, make("span", {}, "Body"), text) : "",
  rest.length ? make("details", { class: "more" }, make("summary", {}, `${rest.length} optional ${rest.length === 1 ? "parameter" : "parameters"}`), make("div", {}, rest.map(row))) : "",
  make("div", { class: "row" }, button, copy), result);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return form;
}

function control(parameter) {
  const s = resolve(parameter.schema);
  if (s.enum) return make("select", {}, make("option", { value: "" }, ""), s.enum.map((v) => make("option", {}, String(v))));
  const whole = s.type === "integer";
  return make("input", {
    type: whole || s.type === "number" ? "number" : "text", step: whole ? "1" : s.type === "number" ? "any" : "",
    min: s.minimum, max: s.maximum, required: Boolean(parameter.required), autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    placeholder: s.format === "date-time" ? "2026-01-31T12:00:00Z" : s.type === "array" ? s.items.enum.slice(0, 2).join(",") : "",
  });
}

// report shows what came back.
function report(outcome) {
  if (outcome.error) return [make("p", { class: "bad" }, outcome.error)];
  return [
    make("div", { class: "line" }, make("span", { class: `status ${century(outcome.status)}` }, `${outcome.status} ${outcome.text}`),
      make("span", {}, `${outcome.took} ms`), make("span", {}, `${outcome.body.length} characters`)),
    outcome.body ? pretty(outcome.body) : "",
    make("details", { class: "more" }, make("summary", {}, "Headers"), make("div", {}, make("pre", { tabindex: "0" }, outcome.headers.map(([k, v]) => `${k}: ${v}`).join("\n")))),
  ].filter(Boolean);
}
