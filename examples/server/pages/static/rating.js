// The life of a rating: sent, accepted by the queue, stored by a worker.

import { call, Problem } from "./api.js";

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// maxPolls is how often a task is asked about. One question waits up to 10 s for the answer.
const maxPolls = 30;

// settled returns the task once it is done.
async function settled(id) {
  for (let asked = 0; asked < maxPolls; asked++) {
    try {
      const task = await call("GET", `tasks/${encodeURIComponent(id)}/`, { prefer: "wait=10" });
      if (task.state === "SUCCESS") return task;
      if (task.state === "FAILURE") throw new Problem(400, { detail: task.error?.detail });
    } catch (problem) {
      if (problem.status !== 0 && problem.status !== 503 && problem.status !== 429) throw problem;
      await pause(problem.retryAfter || 2);
    }
    await pause(1);
  }
  throw new Problem(504, { detail: "The rating is accepted and waits to be stored; no worker has taken it yet." });
}

// rate sends the caller's score of a content, or withdraws it if the score is null. It calls report with each step that
// is reached and the milliseconds since the beginning.
export async function rate(content, score, report) {
  const began = performance.now();
  const since = () => Math.max(1, Math.round(performance.now() - began));
  report("sent", 0);
  const receipt = score === null
    ? await call("DELETE", `contents/${encodeURIComponent(content)}/rating/`, { prefer: "respond-async" })
    : await call("POST", "ratings/", { body: { content, score } });
  report("accepted", since());
  await settled(receipt.task);
  report("stored", since());
}

// own returns the caller's newest stored ratings as a map of content to score.
export async function own() {
  const scores = new Map();
  let next = "ratings/?rater=me&page_size=100";
  for (let pages = 0; next && pages < 5; pages++) {
    const page = await call("GET", next);
    for (const r of page.results) scores.set(r.content, r.score);
    next = page.next;
  }
  return scores;
}
