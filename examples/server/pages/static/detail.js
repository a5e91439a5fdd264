// The chosen content: its text, its statistics, and the way that a rating of it takes.

import { call } from "./api.js";
import { average, fill, ratings, whole } from "./numbers.js";

const find = (id) => document.getElementById(id);
const detail = find("detail");
const bars = new Map();

for (const score of [5, 4, 3, 2, 1]) {
  const line = document.createElement("li");
  const [label, bar, number] = ["span", "i", "span"].map((tag) => line.appendChild(document.createElement(tag)));
  label.textContent = score === 1 ? "1 star" : `${score} stars`;
  bar.setAttribute("aria-hidden", "true");
  find("histogram").append(line);
  bars.set(String(score), { bar, number });
}

// held says in words what the published score is, and what it leaves out for now.
function held(stats) {
  if (stats.ratings_count === 0) return "there is none before the first rating";
  const rule = "the average, but what one day alone says counts little until other days say it too";
  return stats.held === 0 ? `${rule}: nothing is held back` : `${rule}: ${whole(stats.held)} held back`;
}

export class Detail {
  constructor(place) {
    this.place = place; // puts the element beside or below the row that it belongs to
    this.row = null;
    this.ways = new Map();
  }

  async choose(row) {
    if (this.row) this.row.chosen = false;
    this.row = row;
    detail.hidden = row === null;
    if (!row) return;
    row.chosen = true;
    find("detail-title").textContent = row.item.title;
    find("detail-text").textContent = "";
    find("detail-as-of").textContent = "";
    this.showStats({ content: row.item.id, ...row.item, histogram: {}, held: 0, as_of: null }, true);
    this.showWay();
    this.place(detail, row);
    const [content] = await Promise.all([call("GET", `contents/${encodeURIComponent(row.item.id)}/`), this.refresh()]);
    if (this.row === row) find("detail-text").textContent = content.description;
  }

  // refresh reads the statistics again.
  async refresh() {
    const { row } = this;
    if (!row) return;
    const stats = await call("GET", `contents/${encodeURIComponent(row.item.id)}/stats/`);
    if (this.row === row) this.showStats(stats, false);
  }

  showStats(stats, loading) {
    detail.classList.toggle("loading", loading);
    find("detail-average").textContent = average(stats.average_score);
    fill(detail.querySelector(".stars"), stats.average_score);
    find("detail-count").textContent = stats.ratings_count === 0 ? "no ratings yet" : `the exact mean of ${ratings(stats.ratings_count)}`;
    find("detail-score").textContent = average(stats.score);
    find("detail-held").textContent = loading ? "" : held(stats);
    find("detail-as-of").textContent = stats.as_of ? `As of ${new Date(stats.as_of).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" })}` : "";
    const most = Math.max(1, ...Object.values(stats.histogram));
    for (const [score, { bar, number }] of bars) {
      const n = stats.histogram[score] ?? 0;
      bar.style.setProperty("--share", `${(n / most) * 100}%`);
      number.textContent = loading ? "" : whole(n);
    }
  }

  // step notes a step of a rating of a content.
  step(id, name, ms) {
    const way = name === "sent" ? {} : this.ways.get(id) || {};
    way[name] = ms;
    this.ways.set(id, way);
    this.showWay();
  }

  // stop forgets a way that ended before its end.
  stop(id) {
    this.ways.delete(id);
    this.showWay();
  }

  showWay() {
    const way = this.row && this.ways.get(this.row.item.id);
    find("way").hidden = !way;
    if (!way) return;
    for (const step of find("way").querySelectorAll("li")) {
      const ms = way[step.dataset.step];
      step.classList.toggle("reached", ms !== undefined);
      step.querySelector("span").textContent = ms === undefined ? "…" : ms === 0 ? "now" : `after ${whole(ms)} ms`;
    }
  }
}
