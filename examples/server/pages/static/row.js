// A row of the list: a content with its average, and the stars by which it is rated.

import { session } from "./api.js";
import { refocus } from "./focus.js";
import { average, ratings, fill } from "./numbers.js";

const template = document.getElementById("row-template");

// settle is how long a choice of stars must stand before it is sent, so that arrow keys send where they end, not each star that
// they pass.
const settle = 300;

export class Row {
  // handlers: open(row), and rate(row, score), with null to withdraw.
  constructor(item, handlers) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.turn = 0; // grows with each choice: news of an earlier one are not shown any more
    for (const part of ["open", "title", "count", "average", "stars", "rate", "withdraw", "own-state"]) {
      this[part] = this.element.querySelector(`.${part}`);
    }
    this.element.dataset.id = item.id;
    this.radios = [...this.rate.querySelectorAll("input")];
    for (const radio of this.radios) radio.name = `rate-${item.id}`;
    this.open.addEventListener("click", () => handlers.open(this));
    this.rate.addEventListener("change", (event) => {
      this.pending();
      this.timer = setTimeout(() => handlers.rate(this, Number(event.target.value)), settle);
    });
    this.withdraw.addEventListener("click", () => {
      this.pending();
      refocus(this.radios[0]);
      handlers.rate(this, null);
    });
    this.show(item);
    this.showOwn(null);
  }

  // show shows a content, and marks an average that moved.
  show(item) {
    const moved = this.item && this.item.average_score !== item.average_score;
    this.item = item;
    this.title.textContent = item.title;
    this.rate.querySelector("legend").textContent = `Your rating of ${item.title}`;
    this.withdraw.setAttribute("aria-label", `Withdraw your rating of ${item.title}`);
    this.count.textContent = session.user?.id === item.author ? `${ratings(item.ratings_count)} · added by you` : ratings(item.ratings_count);
    this.average.textContent = average(item.average_score);
    fill(this.stars, item.average_score);
    if (moved) {
      this.element.classList.remove("moved");
      void this.element.offsetWidth; // lets the animation begin anew
      this.element.classList.add("moved");
    }
  }

  // pending begins a choice of the caller's, which takes over from an earlier one.
  pending() {
    clearTimeout(this.timer);
    this.turn++;
    this.withdraw.hidden = true;
    this.element.classList.add("pending");
  }

  // showOwn shows the caller's rating, or that there is none.
  showOwn(score, state = "") {
    for (const radio of this.radios) radio.checked = Number(radio.value) === score;
    this.withdraw.hidden = score === null || state !== "";
    this["own-state"].textContent = state || (score === null ? "Not rated by you" : "Rated by you");
    this.element.classList.toggle("pending", state !== "");
  }

  get chosen() { return this.open.getAttribute("aria-expanded") === "true"; }

  set chosen(yes) {
    this.open.setAttribute("aria-expanded", String(yes));
    this.element.classList.toggle("chosen", yes);
  }
}
