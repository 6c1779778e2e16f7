/** The page: header; pictures, canvas, work; what lies over it. */

import * as store from "../store";
import { Stage } from "../stage/Stage";
import { Compare } from "./Compare";
import { Corners } from "./Corners";
import { Dialogs } from "./Dialogs";
import { Footer } from "./Footer";
import { Header } from "./Header";
import { Pictures } from "./Pictures";
import { Side } from "./Side";
import { Toasts } from "./Toasts";
import { Toolbar } from "./Toolbar";

export function App() {
  if (!store.project.value) {
    return (
      <main class="start" role="status">
        {store.fatal.value ?? "Loading…"}
      </main>
    );
  }
  const { left, right } = store.panes.value;
  return (
    <div class={`page${left ? " show-left" : ""}${right ? " show-right" : ""}`}>
      <Header />
      <Pictures />
      <main class="middle" aria-label="Open picture">
        <Toolbar />
        <div class="field">
          <Stage />
          <Corners />
        </div>
        <Compare />
        <Footer />
      </main>
      <Side />
      <Toasts />
      <Dialogs />
    </div>
  );
}
