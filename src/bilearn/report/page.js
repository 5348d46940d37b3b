"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // Buttons that show one of several panels.
  for (const box of all(".switch")) {
    const buttons = all(":scope > [role=tablist] > button", box);
    const panels = all(":scope > .panel", box);
    const show = (chosen) => {
      buttons.forEach((b, i) => b.setAttribute("aria-selected", String(i === chosen)));
      panels.forEach((p, i) => { p.classList.toggle("shown", i === chosen); p.classList.toggle("hidden", i !== chosen); });
    };
    buttons.forEach((button, i) => {
      button.addEventListener("click", () => show(i));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = (i + step + buttons.length) % buttons.length;
        show(next);
        buttons[next].focus();
      });
    });
  }

  // Charts: the nearest point tells its numbers.
  const tip = document.getElementById("tip");
  for (const chart of all("svg.chart")) {
    const points = all("circle[data-tip]", chart);
    if (!points.length) continue;
    points.forEach((p) => p.querySelector("title")?.remove());
    chart.addEventListener("pointermove", (event) => {
      let best = null, distance = 40;
      for (const point of points) {
        const r = point.getBoundingClientRect();
        const d = Math.hypot(r.x + r.width / 2 - event.clientX, (r.y + r.height / 2 - event.clientY) * 0.6);
        if (d < distance) { distance = d; best = { point, r }; }
      }
      tip.hidden = !best;
      if (!best) return;
      tip.textContent = best.point.dataset.tip;
      const left = Math.min(best.r.x + 14, innerWidth - tip.offsetWidth - 8);
      tip.style.left = Math.max(8, left) + "px";
      tip.style.top = Math.max(8, best.r.y - tip.offsetHeight - 10) + "px";
    });
    chart.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  // Tables: click a heading to sort.
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      head.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        const key = (row) => {
          const cell = row.cells[column];
          return cell.dataset.sort === undefined ? cell.textContent : Number(cell.dataset.sort);
        };
        const compare = (a, b) => {
          const [x, y] = [key(a), key(b)];
          if (typeof x === "string") return x.localeCompare(y, undefined, { numeric: true });
          return (Number.isNaN(x) ? -Infinity : x) - (Number.isNaN(y) ? -Infinity : y);
        };
        const body = table.tBodies[0];
        const rows = Array.from(body.rows).sort(compare);
        if (down) rows.reverse();
        body.append(...rows);
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
      });
    });
  }

  // Two pictures of a row under one movable divider.
  const dialog = document.getElementById("compare");
  const stage = dialog.querySelector(".compare-stage");
  const range = dialog.querySelector("input[type=range]");
  const choose = (side) => dialog.querySelector(`select[data-side=${side}]`);
  let pictures = [];
  const refresh = () => {
    for (const side of ["left", "right"]) stage.querySelector(`img[data-picture=${side}]`).src = pictures[choose(side).value].src;
  };
  const cut = (percent) => { range.value = percent; stage.style.setProperty("--cut", percent + "%"); };
  for (const frame of all("button[data-compare]")) {
    frame.addEventListener("click", () => {
      const frames = all("button[data-compare]", frame.closest(".columns"));
      pictures = frames.map((f) => ({ name: f.dataset.compare, src: f.querySelector("img").src }));
      for (const side of ["left", "right"]) {
        choose(side).replaceChildren(...pictures.map((p, i) => new Option(p.name, i)));
      }
      const last = frames.length - 1, clicked = frames.indexOf(frame);
      choose("right").value = last;
      choose("left").value = clicked === last ? Math.max(0, last - 1) : clicked;
      cut(50);
      refresh();
      dialog.showModal();
    });
  }
  all("select", dialog).forEach((s) => s.addEventListener("change", refresh));
  range.addEventListener("input", () => cut(range.value));
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" && !event.buttons && event.pressure === 0) return;
    const r = stage.getBoundingClientRect();
    cut(Math.min(100, Math.max(0, 100 * (event.clientX - r.x) / r.width)));
  });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  for (const button of all(".copy")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1200);
    });
  }
})();
