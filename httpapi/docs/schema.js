// What the schema says, in forms that a page can show.

const document_ = { components: {} };

// use makes a schema the one that references are looked up in.
export function use(schema) {
  Object.assign(document_, schema);
}

// resolve follows a reference.
export function resolve(node) {
  if (!node || !node.$ref) return node;
  return resolve(node.$ref.slice(2).split("/").reduce((at, step) => at[step.replace(/~1/g, "/").replace(/~0/g, "~")], document_));
}

export const nameOf = (node) => (node && node.$ref ? node.$ref.split("/").pop() : "");

// operations lists every operation of the schema, in its order.
export function operations(schema) {
  return Object.entries(schema.paths).flatMap(([path, item]) =>
    Object.entries(item).filter(([method]) => method !== "parameters").map(([method, operation]) => ({
      ...operation, method, path, tag: operation.tags[0], parameters: [...(item.parameters || []), ...(operation.parameters || [])],
    })));
}

// type says in words what a value is.
export function type(schema) {
  const s = resolve(schema);
  if (s.anyOf) return s.anyOf.map(type).filter(Boolean).join(" or ");
  if ("const" in s) return s.const === "" ? "nothing" : JSON.stringify(s.const);
  const types = [s.type].flat().filter(Boolean);
  const words = types.map((t) => {
    if (t === "array") return `list of ${type(s.items) || "anything"}`;
    if (t === "object") return nameOf(schema) || "object";
    if (t === "string" && s.format) return s.format;
    return t;
  });
  return words.join(" or ") || s.format || "";
}

// bounds says in words what a value must keep to.
export function bounds(schema) {
  const s = resolve(schema);
  const said = [];
  if (s.enum) said.push(s.enum.join(", "));
  if (s.minimum !== undefined && s.maximum !== undefined) said.push(`${s.minimum} to ${s.maximum}`);
  else if (s.minimum !== undefined) said.push(`at least ${s.minimum}`);
  if (s.minLength !== undefined && s.maxLength !== undefined) said.push(`${s.minLength} to ${s.maxLength} characters`);
  else if (s.maxLength !== undefined) said.push(`at most ${s.maxLength} characters`);
  return said.join("; ");
}

// example makes a value to begin with.
export function example(schema) {
  const s = resolve(schema);
  if (s.examples) return s.examples[0];
  if (s.enum) return s.enum[0];
  switch ([s.type].flat()[0]) {
    case "object": return Object.fromEntries(Object.entries(s.properties || {}).filter(([, p]) => !resolve(p).readOnly).map(([name, p]) => [name, example(p)]));
    case "array": return [];
    case "integer": case "number": return s.maximum ?? 0;
    case "boolean": return false;
  }
  return s.format === "date-time" ? new Date().toISOString() : "";
}
