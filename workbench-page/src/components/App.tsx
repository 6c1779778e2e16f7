/** Layout: header; image list, canvas, right panel; messages and dialogs on top. */

import { Stage } from "../stage/Stage";
import * as store from "../store";
import { CanvasControls } from "./CanvasControls";
import { ComparisonPanel } from "./ComparisonPanel";
import { Dialogs } from "./Dialogs";
import { FirstSteps } from "./FirstSteps";
import { Footer } from "./Footer";
import { Header } from "./Header";
import { ImageList } from "./ImageList";
import { RightPanel } from "./RightPanel";
import { Toasts } from "./Toasts";
import { Toolbar } from "./Toolbar";

export function App() {
  if (!store.project.value) {
    return (
      <main class="start" role="status">
        {store.loadError.value ?? "Loading…"}
      </main>
    );
  }
  const panel = store.openPanel.value;
  return (
    <div class={`page${panel ? ` show-${panel}` : ""}`}>
      <Header />
      <ImageList />
      <main class="middle" aria-label="Open image">
        <Toolbar />
        <FirstSteps />
        <div class="canvas-area">
          <Stage />
          <CanvasControls />
        </div>
        <ComparisonPanel />
        <Footer />
      </main>
      <RightPanel />
      <Toasts />
      <Dialogs />
    </div>
  );
}
