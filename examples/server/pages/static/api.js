// The API, as the demo uses it. Tokens stay in the memory of this module: they end with the page.

const root = "/api/";
let tokens = null;

// user is who is signed in, or null. Changes are told by the event "change".
export const session = Object.assign(new EventTarget(), { user: null });

function become(answer) {
  tokens = answer && { access: answer.access, refresh: answer.refresh };
  session.user = answer && answer.user;
  session.dispatchEvent(new Event("change"));
}

// A Problem is an answer that is an error (RFC 9457), or the lack of an answer, which has the status 0.
export class Problem extends Error {
  constructor(status, document, retryAfter) {
    super(document.detail || document.title || `The server answered ${status}.`);
    this.status = status;
    this.code = document.code || "";
    this.fields = document.errors || [];
    this.retryAfter = Number(retryAfter) || 0;
  }

  // text says in one sentence or two what went wrong and what to do about it.
  get text() {
    if (this.status === 0) return "The server does not answer. It may be restarting.";
    if (this.status === 429 && this.retryAfter) return `${this.message} In ${this.retryAfter} seconds it is possible again.`;
    const [first] = this.fields;
    return first ? `${this.message} ${first.field || first.parameter || first.header}: ${first.detail}` : this.message;
  }
}

async function send(method, path, body, prefer) {
  const headers = { Accept: "application/json" };
  if (tokens) headers.Authorization = `Bearer ${tokens.access}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (prefer) headers.Prefer = prefer;
  try {
    return await fetch(path.startsWith("/") ? path : root + path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit", cache: "no-cache",
    });
  } catch {
    throw new Problem(0, {});
  }
}

async function read(answer) {
  if (answer.status === 204) return null;
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, document, answer.headers.get("Retry-After"));
  return document;
}

let refreshing = null;

// refreshed trades the refresh token for new ones, once for all calls that find the access token expired.
function refreshed() {
  refreshing ||= (async () => {
    const spent = tokens;
    tokens = null; // the request carries none
    try {
      become(await read(await send("POST", "users/token/refresh/", { refresh: spent.refresh })));
      return true;
    } catch (problem) {
      if (problem.status !== 401) { // nobody said that the token is no good
        tokens = spent;
        throw problem;
      }
      become(null);
      return false;
    }
  })().finally(() => { refreshing = null; });
  return refreshing;
}

// call makes a request and returns the answer's document. The path is below the API, or one that the API gave.
export async function call(method, path, { body, prefer } = {}) {
  if (refreshing) await refreshing.catch(() => {});
  let answer = await send(method, path, body, prefer);
  if (answer.status === 401 && tokens && await refreshed()) answer = await send(method, path, body, prefer);
  return read(answer);
}

export async function signIn(username, password) {
  become(await call("POST", "users/login/", { body: { username, password } }));
}

export async function signUp(username, password) {
  await call("POST", "users/", { body: { username, password } });
  await signIn(username, password);
}

export async function signOut() {
  const ended = call("POST", "users/logout/");
  become(null);
  await ended.catch(() => {}); // the token is forgotten here in any case
}
