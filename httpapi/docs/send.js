// Requests. The token is kept in this variable alone: a reload forgets it.

let token = "";
let scheme = {};

// prove says how requests prove who makes them: a security scheme of OpenAPI.
export const prove = (means) => { scheme = means; };
export const authorize = (value) => { token = value.trim(); };
export const authorized = () => token !== "";

// target makes a request of what was filled in. Parameters that were left empty are left out.
export function target(operation, server, fields, body) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = { Accept: "application/json" };
  for (const { name, value, in: where } of fields) {
    if (where === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (where === "query") query.set(name, value);
    else headers[name] = value;
  }
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token && operation.security.length > 0) {
    if (scheme.in === "header") headers[scheme.name] = token;
    else headers.Authorization = `Bearer ${token}`;
  }
  const search = query.toString();
  return { method: operation.method.toUpperCase(), url: server + path + (search ? `?${search}` : ""), headers, body };
}

// send does a request and returns what came of it.
export async function send({ method, url, headers, body }) {
  const began = performance.now();
  try {
    const response = await fetch(url, { method, headers, body, credentials: scheme.in === "cookie" ? "same-origin" : "omit", cache: "no-store" });
    const text = await response.text();
    return { status: response.status, text: response.statusText, body: text, headers: [...response.headers], took: Math.round(performance.now() - began) };
  } catch {
    return { error: "The server did not answer." };
  }
}

// shell writes a request as a command.
export function shell({ method, url, headers, body }) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const words = [`curl -X ${method} ${quote(location.origin + url)}`, ...Object.entries(headers).map(([k, v]) => `-H ${quote(`${k}: ${v}`)}`)];
  if (body !== undefined) words.push(`-d ${quote(body)}`);
  return words.join(" \\\n  ");
}
