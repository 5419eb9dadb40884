/* Draws the live figures of snnlib.page.live: every setting of the sliders was computed in Python
   and lies in the page; here it is only drawn.  No server, no library: works from file://. */
(() => {
  "use strict";
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const BREAK = 4095, HEIGHT = 230, LEFT = 46, RIGHT = 12, TOP = 10, BOTTOM = 42;
  const digit = Object.fromEntries([...DIGITS].map((c, i) => [c, i]));
  const escaped = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);

  // Two digits are one number: where a point lies along the axis, an eighth beyond both ends.
  const numbers = text => {
    const found = [];
    for (let i = 0; i < text.length; i += 2) {
      const n = digit[text[i]] * 64 + digit[text[i + 1]];
      found.push(n === BREAK ? null : 1.25 * n / (BREAK - 1) - 0.125);
    }
    return found;
  };

  const path = (x, y, across, down, closed) => {
    let d = "", pen = "M";
    x.forEach((_, i) => {
      if (x[i] === null || y[i] === null) { pen = "M"; return; }
      d += `${pen}${across(x[i]).toFixed(1)} ${down(y[i]).toFixed(1)}`;
      pen = "L";
    });
    return closed && d ? `${d}L${across(x.at(-1))} ${down(0)}L${across(x[0])} ${down(0)}Z` : d;
  };

  const cells = (text, [columns, rows], across, down) => {
    const w = across(1 / columns) - across(0), h = down(0) - down(1 / rows);
    let body = "";
    [...text].forEach((c, k) => {
      if (!digit[c]) return;
      const x = across(k % columns / columns), y = down((Math.floor(k / columns) + 1) / rows);
      body += `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${w.toFixed(1)}" `
        + `height="${h.toFixed(1)}" opacity="${(digit[c] / 63).toFixed(2)}"/>`;
    });
    return `<g class="live-cells" shape-rendering="crispEdges">${body}</g>`;
  };

  const panel = (made, data, lines, width, name) => {
    const across = x => LEFT + x * (width - LEFT - RIGHT);
    const down = y => TOP + (1 - y) * (HEIGHT - TOP - BOTTOM);
    let grid = "", drawn = "", legend = "";
    const ruled = made.cells ? -0.02 : 1;  // a line would shine through the cells: marks outside
    for (const [at, text] of made.xt)
      grid += `<line x1="${across(at)}" x2="${across(at)}" y1="${down(0)}" y2="${down(ruled)}"/>`
        + `<text x="${across(at)}" y="${down(0) + 15}" text-anchor="middle">${text}</text>`;
    for (const [at, text] of made.yt)
      grid += `<line x1="${across(0)}" x2="${across(ruled)}" y1="${down(at)}" y2="${down(at)}"/>`
        + `<text x="${LEFT - 6}" y="${down(at) + 4}" text-anchor="end">${text}</text>`;
    for (const [x, y, label, style, color] of lines) {
      if (style === "cells") { drawn += cells(data[y], made.cells, across, down); continue; }
      const d = path(numbers(data[x]), numbers(data[y]), across, down, style === "area");
      drawn += `<path class="live-${style} live-${color}" d="${d}"/>`;
      if (data[label])
        legend += `<span><svg width="26" height="10" aria-hidden="true"><path `
          + `class="live-${style} live-${color}" d="M1 5H25${style === "area" ? "V10H1Z" : ""}"/>`
          + `</svg> ${escaped(data[label])}</span>`;
    }
    return `<div class="live-panel"><div class="live-y">${escaped(made.y)}</div>`
      + `<svg role="img" aria-label="${escaped(name)}" width="${width}" height="${HEIGHT}" `
      + `viewBox="0 0 ${width} ${HEIGHT}"><g class="live-grid">${grid}</g>`
      + `<svg x="${LEFT}" y="${TOP}" width="${width - LEFT - RIGHT}" `
      + `height="${HEIGHT - TOP - BOTTOM}" viewBox="${LEFT} ${TOP} ${width - LEFT - RIGHT} `
      + `${HEIGHT - TOP - BOTTOM}">${drawn}</svg>`
      + `<text class="live-x" x="${across(0.5)}" y="${HEIGHT - 6}" text-anchor="middle">`
      + `${escaped(made.x)}</text></svg><div class="live-legend">${legend}</div></div>`;
  };

  const start = figure => {
    figure.classList.add("drawn");
    const made = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const ranges = [...figure.querySelectorAll("input[type=range]")];
    const stage = figure.querySelector(".live-panels"), says = figure.querySelector(".live-says");
    const show = () => {
      let k = 0;
      ranges.forEach((range, i) => {
        const text = made.texts[i][range.value];
        k = k * made.texts[i].length + Number(range.value);
        range.setAttribute("aria-valuetext", text);
        range.parentElement.querySelector("output").textContent = text;
      });
      const [panels, said] = made.frames[k];
      says.textContent = made.data[said];
      const room = stage.clientWidth || 640, two = panels.length > 1 && room >= 560;
      const width = Math.floor(two ? (room - 16) / 2 : Math.min(room, 560));
      stage.innerHTML = panels.map((lines, i) =>
        panel(made.panels[i], made.data, lines, width, `${made.alt} ${says.textContent}`)).join("");
    };
    ranges.forEach(range => { range.addEventListener("input", show); range.disabled = false; });
    show();
    let before = stage.clientWidth;
    new ResizeObserver(() => {
      if (stage.clientWidth !== before) { before = stage.clientWidth; show(); }
    }).observe(stage);
  };
  document.querySelectorAll("figure.snn-live:not(.drawn)").forEach(start);
})();
