// Keeps the form and the job file beside it in step. The file is the truth: fields show what it
// says and write into it; while it is not JSON (TOML, or half typed) they wait.
import { parse, plain, write as written } from "./exact_json.js";
import { terms } from "./terms.js";

const file = document.getElementById("file");
const form = file.form;
const fields = document.getElementById("job-fields");
const note = document.getElementById("file-note");
const inputs = [...fields.querySelectorAll("[data-path]")];
const pools = [...fields.querySelectorAll("[data-pool]")];
const asked = document.getElementById("f-constraint");
const fits = document.getElementById("f-constraint-note");
const said = note.textContent;
const OF_KIND = { program: ["handler", "config"], handler: ["program", "train", "adaptive"] };
OF_KIND.query = [...OF_KIND.handler, "local"];
let reading = null;
let typed = 0;

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parsed() {
  try {
    const value = parse(file.value);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function get(job, path) {
  return path.split(".").reduce((inner, key) => (isObject(inner) ? inner[key] : undefined), job);
}

function set(job, path, value) {
  const keys = path.split(".");
  const last = keys.pop();
  let inner = job;
  for (const key of keys) {
    if (!isObject(inner[key])) inner[key] = {};
    inner = inner[key];
  }
  if (value === undefined) delete inner[last];
  else inner[last] = value;
}

function showKind(kind) {
  for (const one of fields.querySelectorAll("[data-kind]")) {
    one.hidden = !one.dataset.kind.split(" ").includes(kind || "program");
  }
}

function read() {
  const job = parsed();
  for (const input of [...inputs, ...pools, asked]) input.disabled = job === null;
  note.textContent = job ? said : "Not JSON, or not yet: the fields wait. As TOML it is read when you try it.";
  if (!job) return;
  for (const input of inputs) {
    if (input === document.activeElement) continue;
    input.value = plain(get(job, input.dataset.path)) ?? (input.dataset.path === "strategy.name" ? "fedavg" : "");
  }
  const chosen = get(job, "pools");
  for (const one of pools) one.checked = Array.isArray(chosen) && chosen.includes(one.dataset.pool);
  if (asked !== document.activeElement && !reading) asked.value = terms(get(job, "constraints.public"));
  showKind(get(job, "workload.kind"));
}

function write(event) {
  const input = event.target;
  const job = parsed();
  if (!job) return;
  if (input === asked) return void later();
  if (input.dataset.pool) {
    const others = (get(job, "pools") ?? []).filter((one) => one !== input.dataset.pool);
    const chosen = input.checked ? [...others, input.dataset.pool] : others;
    set(job, "pools", chosen.length ? chosen : undefined);
    if (asked.value) later();
  } else if (input.dataset.path && input.checkValidity()) {
    let value = input.value;
    if (input.type === "number") value = value === "" ? undefined : Number(value);
    set(job, input.dataset.path, value);
    if (input.dataset.path === "workload.kind") {
      for (const key of OF_KIND[value]) delete job.workload[key];
      showKind(value);
    }
    if (input.dataset.path === "strategy.name") job.strategy = { name: value };
  } else return;
  file.value = written(job);
}

// The grammar of constraints is the explorer's: it is asked, and tells how many devices fit too.
function later() {
  const number = ++typed;
  asked.setCustomValidity("");
  reading = new Promise((done) => setTimeout(done, 300)).then(() => number === typed && ask(number));
}

async function ask(number) {
  const query = new URLSearchParams({ q: asked.value });
  for (const one of pools) if (one.checked) query.append("pool", one.dataset.pool);
  let found = { fault: "It cannot be looked up now: write it into the file." };
  try {
    const answer = await fetch(`${asked.dataset.address}?${query}`, { headers: { Accept: "application/json" } });
    if (answer.ok) found = await answer.json();
  } catch { /* said already */ }
  if (number !== typed) return;
  reading = null;
  fits.textContent = found.fault || found.told;
  asked.setCustomValidity(found.fault || "");
  const job = parsed();
  if (!job || !found.public) return;
  set(job, "constraints.public", Object.keys(found.public).length ? found.public : undefined);
  file.value = written(job);
}

// What was typed last must be in the file that is sent.
async function submit(event) {
  if (!reading) return;
  event.preventDefault();
  while (reading) await reading;
  form.requestSubmit(event.submitter);
}

fields.hidden = false;
fields.addEventListener("input", write);
file.addEventListener("input", () => {
  asked.setCustomValidity("");
  read();
});
form.addEventListener("submit", submit);
read();
