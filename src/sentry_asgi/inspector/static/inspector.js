// What pages do beyond showing: new rows as they come, filters without a reload, keys, copying.
// Every page works without it. The server escapes; nothing here makes HTML of its own.
"use strict";

const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
const MOST_ROWS = 500;

// --- Notes that go by themselves -------------------------------------------------------------

let toastTimer;
function toast(text) {
  const place = find("#toast");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => place.classList.remove("shown"), 1600);
}

// --- Theme -----------------------------------------------------------------------------------

function switchTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset.theme || system) === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  localStorage.setItem("theme", next);
}

// --- Copying ---------------------------------------------------------------------------------

async function copy(id, note) {
  const source = document.getElementById(id);
  if (!source) return;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    copyBySelection(source.textContent);
  }
  toast(note ? `Copied, but ${note}` : "Copied");
}

// Where the page is not on a loopback name, browsers have no clipboard for it.
function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

// --- The list: filters, and rows as they come ------------------------------------------------

const list = find("#list");
const filters = find(".filters");
let newest = Number(list?.dataset.newest ?? 0);
let removed = 0;
let fetching = Promise.resolve();

function query(changes = {}) {
  const wanted = new URLSearchParams(filters ? new FormData(filters) : undefined);
  for (const [name, value] of Object.entries(changes)) wanted.set(name, value);
  for (const [name, value] of [...wanted]) if (!value) wanted.delete(name);
  return wanted;
}

async function fetchRows(after) {
  const response = await fetch(`/?${query({ fragment: "1", after })}`);
  const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
  find("#losses").replaceWith(find("#losses", parsed));
  return { rows: findAll("li.row, li.reload", parsed), pages: find("#pages", parsed), more: Boolean(find("#older", parsed)) };
}

// Rows come in the order of their arrival, and stand in that of what happened: the newest first.
const momentOf = (row) => Date.parse(find("time", row).dateTime);
const numberOf = (row) => Number(row.dataset.number ?? 0);

// An error that was there already has one row, which the newest of them takes; a reload has one.
function insert(row) {
  const { site, start } = row.dataset;
  const there = findAll("#list > li");
  if (start && there.some((other) => other.dataset.start === start)) return;
  if (site) there.find((other) => other.dataset.site === site)?.remove();
  const later = findAll("#list > li").find((other) => momentOf(other) <= momentOf(row));
  list.insertBefore(row, later ?? null);
}

// Rows that come while the pointer is on the list wait, so that nothing moves away beneath it.
let waiting = [];
const isPointedAt = () => list.matches(":hover") && !list.matches(":empty");

function addRows(rows) {
  if (!rows.length) return;
  newest = Math.max(newest, ...rows.map(numberOf));
  waiting = [...rows, ...waiting];
  if (isPointedAt()) tellWaiting();
  else showWaiting();
}

function tellWaiting() {
  const sign = find("#waiting");
  const count = waiting.filter((row) => row.matches(".row")).length;
  sign.hidden = !count;
  sign.textContent = `${count} new`;
}

function showWaiting() {
  const rows = waiting;
  waiting = [];
  tellWaiting();
  const first = list.firstElementChild;
  const before = first?.getBoundingClientRect().top;
  for (const row of [...rows].reverse()) {
    row.classList.add("new");
    insert(row);
  }
  // Whoever reads further down keeps the place.
  if (first?.isConnected && window.scrollY > 0) window.scrollBy(0, first.getBoundingClientRect().top - before);
  if (list.children.length <= MOST_ROWS) return;
  while (list.children.length > MOST_ROWS) {
    removed = Math.max(removed, numberOf(list.lastElementChild));
    list.lastElementChild.remove();
  }
  linkOlder();
}

// What is taken from the list's end is where older rows begin.
function linkOlder() {
  const link = find("#older") ?? document.createElement("a");
  link.id = "older";
  link.textContent = "Older";
  link.href = `/?${query({ before: removed + 1 })}`;
  find("#pages").append(link);
}

function replaceRows({ rows, pages }) {
  waiting = [];
  tellWaiting();
  list.replaceChildren(...rows);
  find("#pages").replaceWith(pages);
  newest = Math.max(0, ...rows.map(numberOf));
}

// One at a time, so that no row comes twice. More than a page at once take the place of all: no gap.
function update() {
  fetching = fetching.then(async () => {
    const found = await fetchRows(newest);
    if (found.more) replaceRows(await fetchRows(0));
    else addRows(found.rows);
  }).catch(() => {});
  return fetching;
}

function refilter() {
  fetching = fetching.then(async () => {
    replaceRows(await fetchRows(0));
    list.dataset.live = "yes";
    const address = query().toString();
    history.replaceState(null, "", address ? `/?${address}` : "/");
  }).catch(() => {});
}

function showCounts(counts) {
  for (const place of findAll("[data-count]")) {
    const text = String(counts[place.dataset.count] ?? 0);
    if (place.textContent !== text) place.textContent = text;
  }
}

let news;

function listen() {
  if (news || document.hidden) return;
  news = new EventSource("/live");
  const sign = find("#live");
  news.onopen = () => sign.classList.add("on");
  news.onerror = () => sign.classList.remove("on");
  news.onmessage = (message) => {
    const { newest: latest, counts } = JSON.parse(message.data);
    if (!list) return;
    showCounts(counts);
    const empty = Object.values(counts).every((count) => count === 0);
    if (empty) replaceRows({ rows: [], pages: find("#pages") });
    if (list.dataset.live === "yes" && latest > newest) update();
  };
}

// A browser keeps six connections to a server: pages that nobody looks at must not have them all.
function rest() {
  news?.close();
  news = undefined;
  find("#live").classList.remove("on");
}

document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
addEventListener("pagehide", rest);
addEventListener("pageshow", listen);

if (filters) {
  let typing;
  filters.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(refilter, 120);
  });
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    refilter();
  });
  // A tab keeps what was typed.
  for (const tab of findAll("[data-tab]", filters)) {
    tab.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      location.href = `/?${query({ show: tab.dataset.tab })}`;
    });
  }
}

for (const form of findAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}

// --- Clicks ----------------------------------------------------------------------------------

if (list) {
  find("#waiting").addEventListener("click", showWaiting);
  list.addEventListener("pointerleave", () => waiting.length && showWaiting());
}

const actions = { theme: switchTheme, help: () => find("#help").showModal() };

document.addEventListener("click", (event) => {
  const source = event.target.closest("[data-copy]");
  if (source) copy(source.dataset.copy, source.dataset.note);
  const button = event.target.closest("[data-action]");
  if (button) actions[button.dataset.action]();
});

// --- Keys ------------------------------------------------------------------------------------

const STOPS = ".row > a, .row > details > summary, .frame > summary, .fold > details > summary, .waterfall summary, .moments summary";

function move(step) {
  const stops = findAll(STOPS).filter((stop) => stop.checkVisibility());
  const here = stops.indexOf(document.activeElement);
  const next = stops[here < 0 ? 0 : Math.min(Math.max(here + step, 0), stops.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function foldLibraries() {
  const folds = findAll(".fold > details, .library > details");
  const open = folds.some((fold) => !fold.open);
  for (const fold of folds) fold.open = open;
}

// Browsers empty a search box on Escape, some without a word to the page: the list follows.
function leave(event) {
  if (event.target.type === "search" && event.target.value) {
    event.preventDefault();
    event.target.value = "";
    refilter();
  }
  event.target.blur();
}

const keys = {
  j: () => move(1),
  k: () => move(-1),
  u: () => find("#up")?.click(),
  m: () => copy("markdown"),
  n: () => list && showWaiting(),
  "[": () => find("#older-equal")?.click(),
  "]": () => find("#newer-equal")?.click(),
  f: foldLibraries,
  t: switchTheme,
  "/": () => find("input[type=search]")?.focus(),
  "?": () => find("#help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, dialog")) {
    if (event.key === "Escape") leave(event);
    return;
  }
  const tab = /^[1-5]$/.test(event.key) && findAll("[data-tab]")[Number(event.key) - 1];
  if (tab) tab.click();
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

// --- The way back to the list: as it was left, with what was typed and where it was read ---------

function rememberList() {
  sessionStorage.setItem("list", JSON.stringify({ url: location.pathname + location.search, y: scrollY }));
}

function findList() {
  const { url, y } = JSON.parse(sessionStorage.getItem("list") ?? "{}");
  if (list && url === location.pathname + location.search && sessionStorage.getItem("back")) scrollTo(0, y);
  if (list) sessionStorage.removeItem("back");
  const up = find("#up");
  if (!up || !url) return;
  up.href = url;
  up.addEventListener("click", () => sessionStorage.setItem("back", "yes"));
}

if (list) addEventListener("pagehide", rememberList);
findList();

// --- A span that the address names is open ----------------------------------------------------

function openNamed() {
  const named = location.hash && document.getElementById(location.hash.slice(1));
  const details = named && find("details", named);
  if (!details) return;
  for (let around = details; around; around = around.parentElement.closest("details")) around.open = true;
  named.scrollIntoView({ block: "center" });
}

// --- A file that is dropped on a page is loaded, if it is an envelope ------------------------------

const isFile = (event) => event.dataTransfer?.types.includes("Files");

async function load(file) {
  const response = await fetch("/api/1/envelope/", { method: "POST", body: file });
  const { id, detail } = await response.json();
  if (!response.ok) toast(`${file.name} is not taken: ${detail}`);
  else if (id) location.href = `/events/${id}`;
  else toast(`${file.name} is loaded`);
}

function showDrop(shown) {
  find("#drop").hidden = !shown;
}

addEventListener("dragover", (event) => {
  if (!isFile(event)) return;
  event.preventDefault();
  showDrop(true);
});
addEventListener("dragleave", (event) => event.relatedTarget ?? showDrop(false));
addEventListener("drop", async (event) => {
  if (!isFile(event)) return;
  event.preventDefault();
  showDrop(false);
  for (const file of event.dataTransfer.files) await load(file);
});

addEventListener("hashchange", openNamed);
openNamed();
listen();
