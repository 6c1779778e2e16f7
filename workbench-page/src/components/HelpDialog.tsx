/** All gestures and shortcuts in one table, with a search field. */

import { useState } from "preact/hooks";

import { keyLabel, shortcutGroups } from "../shortcuts";
import { Modal } from "./Modal";

interface HelpRow {
  group: string;
  keys: string[];
  text: string;
}

const POINTER: HelpRow[] = [
  { keys: ["Click", "Tap"], text: "Create an object, or add to the selected one" },
  { keys: ["Right-click", "Alt+click", "Long press"], text: "Take the place out of the mask under the pointer" },
  { keys: ["Drag"], text: "Draw a box (Shift: for the selected object)" },
  { keys: ["Wheel", "Pinch"], text: "Zoom; a click then uses what is on the screen, at full resolution" },
  { keys: ["Space+drag", "Middle button", "Two fingers"], text: "Pan" },
].map((row) => ({ ...row, group: "Mouse and touch" }));

function rows(): HelpRow[] {
  const shortcuts = shortcutGroups.flatMap((group) =>
    group.shortcuts.map(({ keys, text }) => ({
      group: group.name,
      keys: keys[0] === "1" ? ["1 … 9"] : keys.map(keyLabel),
      text,
    })),
  );
  return [...POINTER, ...shortcuts];
}

export function HelpDialog() {
  const [search, setSearch] = useState("");
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows().filter((row) => {
    const text = `${row.group} ${row.keys.join(" ")} ${row.text}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  return (
    <Modal title="Help and shortcuts" wide>
      <p class="hint">
        Annotate and accept a few images, then fit an adapter. Let it label the remaining images, correct its mistakes
        (the least certain images come first), and fit again if needed. Export the result when you are done.
      </p>
      <input
        class="help-search"
        id="help-search"
        placeholder="Search, for example: zoom"
        aria-label="Search the help"
        value={search}
        ref={(field) => field?.focus()}
        onInput={(event) => setSearch(event.currentTarget.value)}
      />
      <table class="help">
        <tbody>
          {found.map((row, index) => (
            <tr key={row.group + row.text}>
              <th scope="row">{row.group === found[index - 1]?.group ? "" : row.group}</th>
              <td>
                {row.keys.map((one) => (
                  <kbd key={one}>{one}</kbd>
                ))}
              </td>
              <td>{row.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {!found.length && <p class="hint">Nothing found.</p>}
    </Modal>
  );
}
