// A path as rules see it. A service may read a path in other ways than as it was sent: `/a/../b` as `/b`, `/%61` as `/a`, `//a` as `/a`. A rule
// that compares bytes only would then publish more than it names.

const UNUSUAL = /[%\\;]|\/[/.]/;
const ENCODED = /%[0-9a-f]{2}/gi;
const UNRESERVED = /[A-Za-z0-9._~-]/;
/** What a server may take for the end of a segment. */
const SEPARATOR = /[/\\]|%2F|%5C/;

/** Returns the path as rules see it, with its query; undefined where it has segments that lead elsewhere, `.` and `..` in any coding. */
export function rulePath(path: string): string | undefined {
  if (!UNUSUAL.test(path)) return path;
  const mark = path.indexOf('?');
  const query = mark < 0 ? '' : path.slice(mark);
  const plain = (mark < 0 ? path : path.slice(0, mark)).replace(ENCODED, (code) => {
    const character = String.fromCharCode(Number.parseInt(code.slice(1), 16));
    return UNRESERVED.test(character) ? character : code.toUpperCase();
  });
  for (const segment of plain.split(SEPARATOR)) {
    // Servlet containers cut parameters off before they resolve dots: `/..;/`.
    const [name] = segment.split(/;|%3B/, 1);
    if (name === '.' || name === '..') return undefined;
  }
  return plain.replace(/\/{2,}/g, '/') + query;
}
