/**
 * A glob as data sets' `data_files` has it: `*` and `?` within a name, `**` across folders,
 * `[abc]` and `{a,b}`.
 */
export function globToRegExp(glob: string): RegExp {
  let source = "";
  let braces = 0;
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i];
    if (char === "*" && glob[i + 1] === "*") {
      const folder = glob[i + 2] === "/";
      source += folder ? "(?:.*/)?" : ".*";
      i += folder ? 2 : 1;
    } else if (char === "*") source += "[^/]*";
    else if (char === "?") source += "[^/]";
    else if (char === "[") {
      const end = glob.indexOf("]", i + 2);
      if (end < 0) source += "\\[";
      else {
        const set = glob.slice(i + 1, end).replace(/^!/, "^").replaceAll("\\", "\\\\");
        source += `[${set}]`;
        i = end;
      }
    } else if (char === "{") {
      source += "(?:";
      braces++;
    } else if (char === "}" && braces > 0) {
      source += ")";
      braces--;
    } else if (char === "," && braces > 0) source += "|";
    else source += char.replace(/[.+^$()|\\\]}]/g, "\\$&");
  }
  return new RegExp(`^${source}${")".repeat(braces)}$`);
}
