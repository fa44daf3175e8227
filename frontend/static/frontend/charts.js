// Draws the job's series, and again whenever a new version of them is pushed. The chart objects
// stay: only their data changes, so nothing flickers.
const MEASURES = ["accuracy", "loss"];
const LINES = [
  { kind: "train", label: "Training", dash: [5, 4] },
  { kind: "evaluate", label: "Evaluation", dash: [] },
];
const charts = {};

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function series() {
  return JSON.parse(document.getElementById("series").textContent);
}

function points(data, kind, measure) {
  return data[`${kind}_${measure}`] || [];
}

function datasets(data, measure) {
  return LINES.map(({ kind, label, dash }) => {
    const values = points(data, kind, measure);
    return {
      label,
      data: values,
      borderDash: dash,
      borderColor: colour(`chart-${kind}`),
      backgroundColor: colour(`chart-${kind}`),
      borderWidth: kind === "evaluate" ? 2.25 : 1.5,
      pointRadius: values.length < 2 ? 4 : kind === "evaluate" && values.length < 30 ? 2.5 : 0,
      pointHitRadius: 8,
      tension: 0,
    };
  });
}

function write(measure, value) {
  return measure === "accuracy" ? `${(100 * value).toFixed(1)} %` : value.toFixed(3);
}

function options(measure) {
  const text = colour("soft");
  const grid = { color: colour("line"), drawTicks: false };
  const ticks = { color: text, padding: 6, font: { size: 12 } };
  const isAccuracy = measure === "accuracy";
  return {
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "nearest", axis: "x", intersect: false },
    parsing: false,
    scales: {
      x: {
        type: "linear",
        min: 0,
        suggestedMax: 5,
        title: { display: true, text: "Round", color: text, font: { size: 12 } },
        ticks: { ...ticks, precision: 0, maxTicksLimit: 8 },
        grid: { display: false },
        border: { color: colour("line") },
      },
      y: {
        suggestedMin: isAccuracy ? undefined : 0,
        max: isAccuracy ? 1 : undefined,
        title: { display: true, text: isAccuracy ? "Share correct" : "Mean loss", color: text, font: { size: 12 } },
        ticks: {
          ...ticks,
          maxTicksLimit: 6,
          callback: (value) => (isAccuracy ? `${Math.round(100 * value)} %` : +value.toFixed(2)),
        },
        grid,
        border: { display: false },
      },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        backgroundColor: colour("ink"),
        titleColor: colour("paper"),
        bodyColor: colour("paper"),
        cornerRadius: 4,
        callbacks: {
          title: (items) => `Round ${items[0].parsed.x}`,
          label: (item) => ` ${item.dataset.label}: ${write(measure, item.parsed.y)}`,
        },
      },
    },
  };
}

function draw() {
  const data = series();
  const some = Object.values(data).some((values) => values.length);
  document.getElementById("charts").hidden = !some;
  if (!some) return;
  for (const measure of MEASURES) {
    const canvas = document.getElementById(`chart-${measure}`);
    const isMeasured = LINES.some(({ kind }) => points(data, kind, measure).length);
    canvas.closest("figure").hidden = !isMeasured;
    if (!isMeasured) continue;
    const chart = charts[measure];
    if (!chart) {
      charts[measure] = new Chart(canvas, {
        type: "line",
        data: { datasets: datasets(data, measure) },
        options: options(measure),
      });
      continue;
    }
    for (const [index, fresh] of datasets(data, measure).entries()) {
      Object.assign(chart.data.datasets[index], fresh);
    }
    chart.update("none");
  }
}

function recolour() {
  for (const [measure, chart] of Object.entries(charts)) chart.options = options(measure);
  draw();
}

let drawn = document.getElementById("series").textContent;
draw();
document.addEventListener("propius:theme", recolour);
document.addEventListener("propius:sections", () => {
  const text = document.getElementById("series").textContent;
  if (text !== drawn) {
    drawn = text;
    draw();
  }
});
