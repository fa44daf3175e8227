// A job file's public constraints as the explorer has them: memory_mb >= 4096 and os = linux.
import { plain, write } from "./exact_json.js";

// Returns the text; what cannot be said in terms as the object that it is, which is read as well.
export function terms(constraints) {
  if (constraints === undefined) return "";
  try {
    return Object.entries(constraints).map(term).join(" and ");
  } catch {
    return write(constraints);
  }
}

function term([name, condition]) {
  if (!/^[^\s"=<>,{]+$/.test(name) || /^(and|&&)$/i.test(name)) throw new RangeError(name);
  if (plain(condition) !== condition) return `${name} >= ${plain(condition)}`;
  const said = Object.entries(condition).map(([key, value]) => {
    if (key === "min") return `${name} >= ${word(value)}`;
    if (key === "max") return `${name} <= ${word(value)}`;
    if (key !== "in" || !value.length) throw new RangeError(key);
    return value.length === 1 ? `${name} = ${word(value[0])}` : `${name} in ${value.map(word).join(", ")}`;
  });
  if (!said.length) throw new RangeError(name);
  return said.join(" and ");
}

// Returns a value; quoted where it would be read as something else.
function word(value) {
  if (typeof value === "boolean" || plain(value) !== value) return String(plain(value));
  if (typeof value !== "string" || value.includes('"')) throw new RangeError(value);
  const isBare = /^[^\s"=<>,]+$/.test(value) && !/^(true|false|and|&&|in)$/i.test(value);
  return isBare && Number.isNaN(Number(value)) && !/^[+-]?(inf|nan)/i.test(value) ? value : `"${value}"`;
}
