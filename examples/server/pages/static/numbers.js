// Numbers as people read them.

const count = new Intl.NumberFormat("en");

export const average = (value) => (value === null ? "–" : value.toFixed(2));

export function ratings(n) {
  if (n === 0) return "no ratings yet";
  return n === 1 ? "1 rating" : `${count.format(n)} ratings`;
}

export const whole = (n) => count.format(n);

// fill fills a strip of stars up to a score.
export function fill(strip, value) {
  strip.style.setProperty("--filled", `${((value ?? 0) / 5) * 100}%`);
}
