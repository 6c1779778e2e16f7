import { keyLabel, shortcutGroups } from "../shortcuts";
import { Modal } from "./Modal";

export function HelpDialog() {
  return (
    <Modal title="Help and shortcuts" wide>
      <p class="hint">
        Annotate and accept a few images, then fit an adapter. Let it label the remaining images, correct its mistakes
        (the least certain images come first), and fit again if needed. Export the result when you are done.
      </p>
      <div class="shortcuts">
        <section>
          <h3>Mouse and touch</h3>
          <dl>
            <Row keys={["Click", "Tap"]} text="Create an object, or add to the selected one" />
            <Row keys={["Right-click", "Alt+click", "Long press"]} text="Take the place out of the mask under the pointer" />
            <Row keys={["Drag"]} text="Draw a box (Shift: for the selected object)" />
            <Row keys={["Wheel", "Pinch"]} text="Zoom" />
            <Row keys={["Space+drag", "Middle button", "Two fingers"]} text="Pan" />
          </dl>
        </section>
        {shortcutGroups.map((group) => (
          <section key={group.name}>
            <h3>{group.name}</h3>
            <dl>
              {group.shortcuts.map(({ keys, text }) => (
                <Row key={text} keys={keys[0] === "1" ? ["1 … 9"] : keys.map(keyLabel)} text={text} />
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Modal>
  );
}

function Row({ keys, text }: { keys: string[]; text: string }) {
  return (
    <div>
      <dt>
        {keys.map((one) => (
          <kbd key={one}>{one}</kbd>
        ))}
      </dt>
      <dd>{text}</dd>
    </div>
  );
}
