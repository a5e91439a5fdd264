// Signing up, in and out.

import { session, signIn, signOut, signUp } from "./api.js";
import { refocus } from "./focus.js";
import { dialogForm } from "./form.js";

const find = (id) => document.getElementById(id);
const password = find("account").querySelector("[name=password]");

const modes = {
  in: {
    title: "Sign in", submit: "Sign in", autocomplete: "current-password", send: signIn, hint: "You are signed in until this page is closed or reloaded.",
    other: "up", otherText: "No account yet?", otherLink: "Create one",
  },
  up: {
    title: "Create an account", submit: "Create account", autocomplete: "new-password", send: signUp, hint: "At least 8 characters; a sentence is best.",
    other: "in", otherText: "Have one already?", otherLink: "Sign in",
  },
};
let mode = modes.in;
let afterwards = null;

function turn(name) {
  mode = modes[name];
  find("account-title").textContent = mode.title;
  find("account-submit").textContent = mode.submit;
  find("account-hint").textContent = mode.hint;
  find("account-other-text").textContent = mode.otherText;
  find("account-other").textContent = mode.otherLink;
  password.autocomplete = mode.autocomplete;
}

const open = dialogForm(
  find("account"),
  ({ username, password }) => mode.send(username, password),
  (done) => {
    const then = afterwards;
    afterwards = null;
    refocus(find(done ? "sign-out" : "sign-in"));
    if (then) then(done);
  },
);

function ask(name, why) {
  turn(name);
  find("account-why").textContent = why;
  find("account-why").hidden = !why;
  open();
}

// signedIn resolves to whether somebody is signed in, after asking for it if nobody is.
export function signedIn(why) {
  if (session.user) return Promise.resolve(true);
  return new Promise((resolve) => {
    afterwards = resolve;
    ask("up", why);
  });
}

function show() {
  const { user } = session;
  find("sign-in").hidden = find("sign-up").hidden = user !== null;
  find("sign-out").hidden = find("who").hidden = user === null;
  find("name").textContent = user ? user.username : "";
}

find("sign-in").addEventListener("click", () => ask("in", ""));
find("sign-up").addEventListener("click", () => ask("up", ""));
find("sign-out").addEventListener("click", () => {
  signOut();
  refocus(find("sign-in"));
});
find("account-other").addEventListener("click", () => turn(mode.other));
session.addEventListener("change", show);
