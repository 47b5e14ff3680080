"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // The sections, as links.
  for (const heading of all("main h2")) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#${heading.id}`;
    link.textContent = heading.textContent;
    item.append(link);
    document.getElementById("sections").append(item);
  }

  // Charts. Colours are CSS variables, so the drawing follows the page without being made anew.
  const { config, datasets, charts } = JSON.parse(document.getElementById("charts").textContent);
  const namesIn = (spec) => {
    const found = new Set();
    JSON.stringify(spec, (key, value) => {
      if (key === "data" && value && value.name) found.add(value.name);
      return value;
    });
    return [...found];
  };
  const draw = async (element) => {
    const spec = charts[element.dataset.chart];
    spec.config = config;
    spec.datasets = Object.fromEntries(namesIn(spec).map((name) => [name, datasets[name]]));
    element.replaceChildren();
    try {
      await vegaEmbed(element, spec, {
        actions: false,
        renderer: "svg",
        tooltip: { disableDefaultStyle: true },
      });
      element.dataset.drawn = "yes";
    } catch (error) {
      element.textContent = `This chart could not be drawn: ${error.message}`;
    }
  };
  const drawAll = async () => {
    for (const element of all("[data-chart]")) await draw(element);
    document.documentElement.dataset.ready = "yes";
  };
  drawAll();

  // Copy buttons.
  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }

  // The table of trials: sorted by a heading's button, filtered by state.
  const table = document.getElementById("all-trials");
  if (!table) return;
  const body = table.tBodies[0];
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return cell.textContent.trim() || null;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sort = (heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [keyOf(row, column), row]);
    keyed.sort(([a], [b]) => {
      // What has no value comes last either way.
      if (a === null || b === null) return (a === null) - (b === null);
      return down ? compare(b, a) : compare(a, b);
    });
    body.append(...keyed.map(([, row]) => row));
  };
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sort(heading, column));
    heading.replaceChildren(button);
  });
  const state = document.getElementById("state");
  const filter = () => {
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = state.value !== "" && row.dataset.state !== state.value;
      if (!row.hidden) shown += 1;
    }
    document.getElementById("shown").textContent = `${shown} of ${body.rows.length} shown`;
  };
  state.form.hidden = false;
  state.addEventListener("change", filter);
  // A link to a trial leads to it, whatever the filter; also one that has been followed before.
  const show = (hash) => {
    const row = document.getElementById(hash.slice(1));
    if (row && row.hidden) {
      state.value = "";
      filter();
      row.scrollIntoView();
    }
  };
  addEventListener("hashchange", () => show(location.hash));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link) show(link.hash);
  });
})();
