/* Formulas that are typeset when they come near the screen, and lists that can be filtered.
   No server, no library: works from file:// and offline. Without it everything is shown. */
(() => {
  "use strict";
  const root = document.documentElement;

  // ---------------------------------------------------------------- formulas that wait
  // A part of class "late" is typeset when it comes near the screen. What a closed fold holds has
  // no place on the screen, so it waits until the fold is opened.
  const ready = () => window.MathJax?.startup?.promise ?? Promise.reject();
  const formulas = part =>
    [...part.querySelectorAll(".late-math")].filter(f => f.closest(".late") === part);
  // A part of a formula that is wider than its place scrolls by itself; all others flow.
  const fit = spans => {
    spans.forEach(span => span.classList.remove("wide"));
    const wide = spans.filter(span => {
      const place = span.closest(".ledger-formula, p, li, .ledger-how") ?? span.parentElement;
      return span.offsetWidth > place.clientWidth && place.clientWidth > 0;
    });
    wide.forEach(span => span.classList.add("wide"));
  };
  window.addEventListener("resize", () => fit([...document.querySelectorAll(".typeset .late-math")]));
  let queue = [], turn = Promise.resolve();
  const typesetQueue = () => {
    const spans = queue.flatMap(formulas), parts = queue;
    queue = [];
    if (!spans.length) return;
    turn = turn.then(ready).then(() => MathJax.typesetPromise(spans)).then(
      () => { parts.forEach(part => part.classList.add("typeset")); fit(spans); },
      () => root.classList.remove("late-waits"));
  };
  const near = new IntersectionObserver(entries => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      queue.push(entry.target);
    }
    typesetQueue();
  }, { rootMargin: "900px 0px" });
  const parts = [...document.querySelectorAll(".late")];
  if (parts.length) root.classList.add("late-waits");
  parts.forEach(part => near.observe(part));

  // On paper nothing comes near the screen later.
  const typesetAll = () => {
    const left = parts.filter(part => !part.classList.contains("typeset"));
    left.forEach(part => near.unobserve(part));
    MathJax.typeset(left.flatMap(formulas));
    left.forEach(part => part.classList.add("typeset"));
  };
  window.addEventListener("beforeprint", () => { if (window.MathJax?.typeset) typesetAll(); });

  // ------------------------------------------------------------------- links into folds
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    let fold = target.closest("details:not([open])");
    if (!fold) return;
    for (; fold; fold = fold.parentElement?.closest("details:not([open])")) fold.open = true;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", reveal);
  reveal();

  // --------------------------------------------------------------------------- filters
  const form = document.querySelector("form.ledger-filter");
  if (!form) return;
  const items = [...document.querySelectorAll("[data-verdict]")];
  const texts = items.map(item => item.textContent.toLowerCase());
  const folds = [...document.querySelectorAll("details.ledger-group")];
  const blocks = folds.length ? folds
    : [...new Set(items.map(item => item.closest("section")))].filter(Boolean);
  const found = form.querySelector("output");
  const fields = ["verdict", "kind", "chapter"];
  const value = name => form.elements[name]?.value ?? "";

  const apply = () => {
    const words = value("text").toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = fields.map(name => [name, value(name)]).filter(([, v]) => v);
    const active = wanted.length + words.length > 0;
    let count = 0;
    items.forEach((item, i) => {
      const fits = wanted.every(([name, v]) => item.dataset[name] === v)
        && words.every(word => texts[i].includes(word));
      item.hidden = !fits;
      count += fits;
    });
    blocks.forEach(block => {
      const any = items.some(item => !item.hidden && block.contains(item));
      block.hidden = !any;
      if (folds.length) block.open = active && any;
    });
    found.textContent = active ? `${count} of ${items.length} claims` : `${items.length} claims`;
    const query = new URLSearchParams([...wanted, ...(words.length ? [["text", words.join(" ")]] : [])]);
    if (active || location.search) {
      const address = (query.size ? `?${query}` : location.pathname) + location.hash;
      try { history.replaceState(null, "", address); } catch { /* a sandboxed frame: no address */ }
    }
  };
  for (const [name, given] of new URLSearchParams(location.search))
    if (form.elements[name]) form.elements[name].value = given;
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", event => event.preventDefault());
  if (location.search) apply();
  else found.textContent = `${items.length} claims`;
})();
