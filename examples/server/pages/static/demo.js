// The demo: a list of contents, rated with a click, and kept fresh.

import { call, session } from "./api.js";
import { signedIn } from "./account.js";
import { Detail } from "./detail.js";
import { refocus } from "./focus.js";
import { dialogForm } from "./form.js";
import { average } from "./numbers.js";
import { own, rate } from "./rating.js";
import { Row } from "./row.js";

const find = (id) => document.getElementById(id);
const rows = new Map(); // by the content's id, in the order of the list
const pageSize = 20;
const everyMs = 3000; // how often the numbers are read again
const slowestMs = 15000; // and how seldom while the server does not answer

let next = null;
let loads = 0;
let scores = new Map(); // the caller's own
const narrow = matchMedia("(max-width: 62rem)");

const detail = new Detail((element, row) => {
  if (narrow.matches) row.element.append(element);
  else find("side").append(element);
});
narrow.addEventListener("change", () => { if (detail.row) detail.place(find("detail"), detail.row); });

const tell = (text) => { find("live").textContent = text; };

function notice(text) {
  find("notice").textContent = text;
  find("notice").hidden = !text;
}

const firstPage = () => `contents/?ordering=${encodeURIComponent(find("ordering").value)}&page_size=${pageSize}`;

// add puts contents that are not in the list yet at its end, or at its beginning, and shows the others anew.
function add(items, atTop = false) {
  const fresh = [];
  for (const item of items) {
    const row = rows.get(item.id);
    if (row) {
      row.show(item);
      continue;
    }
    const made = new Row(item, { open: choose, rate: send });
    made.showOwn(scores.get(item.id) ?? null);
    rows.set(item.id, made);
    fresh.push(made.element);
  }
  if (atTop) find("list").prepend(...fresh);
  else find("list").append(...fresh);
  find("empty").hidden = rows.size > 0;
  find("list").hidden = rows.size === 0;
}

async function load() {
  for (const id of ["list", "empty", "failed", "more"]) find(id).hidden = true;
  find("loading").hidden = false;
  const turn = ++loads; // a newer one takes over
  const chosen = detail.row?.item.id;
  try {
    const page = await call("GET", firstPage());
    if (turn !== loads) return;
    detail.choose(null);
    find("side").append(find("detail"));
    rows.clear();
    find("list").replaceChildren();
    add(page.results);
    next = page.next;
    find("more").hidden = !next;
    const again = rows.get(chosen) || (narrow.matches ? null : rows.values().next().value);
    if (again) choose(again);
    find("loading").hidden = true;
    refocus(find("contents"));
  } catch (problem) {
    if (turn !== loads) return;
    find("failed-why").textContent = explained(problem);
    find("failed").hidden = false;
    find("loading").hidden = true;
    refocus(find("contents"));
  }
}

// explained is what a visitor reads of an error. One that is no problem document is a mistake in these files.
function explained(problem) {
  if (problem.status !== undefined) return problem.text;
  console.error(problem);
  return "Something in this page failed. Reload it, and try again.";
}

async function more() {
  find("more").setAttribute("aria-busy", "true");
  try {
    const page = await call("GET", next);
    const last = find("list").lastElementChild;
    add(page.results);
    next = page.next;
    find("more").hidden = !next;
    refocus((last.nextElementSibling ?? last).querySelector(".open"));
  } catch (problem) {
    notice(explained(problem));
  } finally {
    find("more").removeAttribute("aria-busy");
  }
}

function choose(row) {
  if (narrow.matches && detail.row === row) row = null; // there, a second press closes it
  detail.choose(row).catch((problem) => notice(explained(problem)));
}

// send sends a rating and shows how it fares. A newer choice in the same row takes it over.
async function send(row, score) {
  const { id, title } = row.item;
  const { turn } = row;
  const mine = () => row.turn === turn;
  row.showOwn(score, "Sending…");
  if (!await signedIn("Ratings belong to somebody: create an account, or sign in, and yours is sent.")) {
    if (mine()) row.showOwn(scores.get(id) ?? null);
    return;
  }
  const stored = scores; // those of who is signed in now
  if (detail.row !== row) choose(row);
  notice("");
  try {
    await rate(id, score, (step, ms) => {
      if (!mine()) return;
      detail.step(id, step, ms);
      if (step === "accepted") row.showOwn(score, "Accepted…");
    });
    if (score === null) stored.delete(id);
    else stored.set(id, score);
    if (!mine()) return;
    row.showOwn(score);
    await refresh(row);
    tell(`${score === null ? "Withdrawn" : "Stored"}. The average of ${title} is ${average(row.item.average_score)} now.`);
  } catch (problem) {
    if (!mine()) return;
    detail.stop(id);
    row.showOwn(scores.get(id) ?? null);
    notice(`Your rating of “${title}” was not stored. ${explained(problem)}`);
  }
}

// refresh reads the numbers of one row again.
async function refresh(row) {
  row.show(await call("GET", `contents/${encodeURIComponent(row.item.id)}/`));
  if (detail.row === row) await detail.refresh();
}

// watch keeps the numbers fresh while somebody looks at the page.
async function watch() {
  let wait = everyMs;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (document.hidden || !find("loading").hidden || !find("failed").hidden) continue;
    try {
      const page = await call("GET", firstPage());
      const newestFirst = find("ordering").value === "-created_at";
      add(newestFirst ? page.results : page.results.filter((item) => rows.has(item.id)), true);
      await detail.refresh();
      if (wait !== everyMs) notice("");
      wait = everyMs;
    } catch (problem) {
      wait = Math.min(wait * 2, slowestMs);
      notice(explained(problem));
    }
  }
}

const openNew = dialogForm(find("new-content"), async ({ title, description }) => {
  const made = await call("POST", "contents/", { body: { title, description } });
  add([made], true);
  choose(rows.get(made.id));
  tell(`${made.title} is added.`);
}, () => refocus(find("list").querySelector(".open") ?? find("add-first")));

async function write() {
  if (await signedIn("Contents have authors: create an account, or sign in.")) openNew();
}

session.addEventListener("change", async () => {
  const mine = scores = new Map();
  try {
    // What is rated while the list is on its way is newer than it.
    if (session.user) for (const [id, score] of await own()) if (!mine.has(id)) mine.set(id, score);
  } catch (problem) {
    notice(explained(problem));
  }
  if (scores !== mine) return; // somebody else has signed in since
  for (const [id, row] of rows) {
    row.show(row.item);
    if (!row.element.classList.contains("pending")) row.showOwn(scores.get(id) ?? null);
  }
});
find("ordering").addEventListener("change", load);
find("retry").addEventListener("click", load);
find("more").addEventListener("click", more);
find("add").addEventListener("click", write);
find("add-first").addEventListener("click", write);
await load();
watch();
