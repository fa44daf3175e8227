// Keeps the form and the job file beside it in step. The file is the truth: fields show what it
// says and write into it; while it is not JSON (TOML, or half typed) they wait.
const file = document.getElementById("file");
const fields = document.getElementById("job-fields");
const note = document.getElementById("file-note");
const inputs = [...fields.querySelectorAll("[data-path]")];
const said = note.textContent;
const OF_KIND = { program: ["handler", "config"], handler: ["program", "train", "adaptive"] };
OF_KIND.query = [...OF_KIND.handler, "local"];

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parsed() {
  try {
    const value = JSON.parse(file.value);
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
  for (const input of inputs) {
    input.disabled = job === null;
    if (job === null || input === document.activeElement) continue;
    input.value = get(job, input.dataset.path) ?? (input.dataset.path === "strategy.name" ? "fedavg" : "");
  }
  if (job) showKind(get(job, "workload.kind"));
  note.textContent = job ? said : "Not JSON, or not yet: the fields wait. As TOML it is read when you try it.";
}

function write(event) {
  const input = event.target;
  const job = parsed();
  if (!job || !input.dataset.path || !input.checkValidity()) return;
  let value = input.value;
  if (input.type === "number") value = value === "" ? undefined : Number(value);
  set(job, input.dataset.path, value);
  if (input.dataset.path === "workload.kind") {
    for (const key of OF_KIND[value]) delete job.workload[key];
    showKind(value);
  }
  if (input.dataset.path === "strategy.name") job.strategy = { name: value };
  file.value = JSON.stringify(job, null, 2);
}

fields.hidden = false;
fields.addEventListener("input", write);
file.addEventListener("input", read);
read();
