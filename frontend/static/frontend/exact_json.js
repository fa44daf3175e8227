// JSON whose numbers stay as they were written: a seed goes to 2^63-1, a number here to 2^53.
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const MARK = "\0";
const MARKED = /"\\u0000(-?\d[\d.eE+-]*)"/g;

// Returns what a text says, each number as a marked text. Throws SyntaxError.
export function parse(text) {
  JSON.parse(text);
  return JSON.parse(text.replace(TOKENS, (one) => (one[0] === '"' ? one : `"\\u0000${one}"`)));
}

export function write(value) {
  return JSON.stringify(value, null, 2).replace(MARKED, "$1");
}

// Returns a value as a field shows it: a marked number without its mark.
export function plain(value) {
  return typeof value === "string" && value.startsWith(MARK) ? value.slice(1) : value;
}
