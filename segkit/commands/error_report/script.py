"""What the page does when it is clicked: plain JavaScript that needs nothing but the page."""

SCRIPT = """
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const words = new Intl.Collator(undefined, { numeric: true });

  // Cells without a value stay last; equal ones keep their order.
  function sortBy(button) {
    const head = button.closest("th"), column = Number(button.dataset.sort);
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const isWords = body.rows.length && body.rows[0].cells[column].classList.contains("words");
    const keyed = Array.from(body.rows, (row) => {
      const value = row.cells[column].dataset.v;
      return [value === "" ? null : isWords ? value : Number(value), row];
    });
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return down * (isWords ? words.compare(a, b) : a - b);
    });
    body.append(...keyed.map(([, row]) => row));
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
  }

  const chosen = document.getElementById("chosen");
  function showPair(button) {
    const pair = data.pairs[button.dataset.pair];
    const title = document.createElement("h3"), list = document.createElement("ol");
    title.textContent = pair.title;
    for (const [image, pixels] of pair.images) {
      const item = document.createElement("li"), [name, place] = data.images[image];
      const text = document.createElement(place ? "a" : "span");
      text.textContent = name;
      if (place) text.setAttribute("href", "#" + place);
      item.append(text, ": " + pixels.toLocaleString("en") + " pixels");
      list.append(item);
    }
    chosen.replaceChildren(title, list);
    chosen.hidden = false;
    for (const other of document.querySelectorAll("[data-pair][aria-pressed]")) other.removeAttribute("aria-pressed");
    button.setAttribute("aria-pressed", "true");
    chosen.scrollIntoView({ block: "nearest" });
  }

  const large = document.getElementById("large");
  function enlarge(button) {
    const picture = button.querySelector("img"), shown = large.querySelector("img");
    shown.src = picture.src;
    shown.alt = picture.alt;
    large.querySelector("p").textContent = picture.alt;
    large.showModal();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target.closest("dialog")) large.close();
    else if (!button) return;
    else if (button.dataset.sort) sortBy(button);
    else if (button.dataset.pair) showPair(button);
    else if (button.classList.contains("zoom")) enlarge(button);
  });

  const find = document.getElementById("find");
  find.hidden = false;
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const row of document.getElementById("images").tBodies[0].rows) {
      row.hidden = !row.cells[0].dataset.v.toLowerCase().includes(wanted);
    }
  });
})();
"""
