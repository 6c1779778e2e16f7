import { resolveConflict } from "../editor";
import * as store from "../store";
import { Modal } from "./Modal";

export function ConflictDialog() {
  const choose = (keepLocal: boolean) => void resolveConflict(keepLocal).catch(store.notifyError);
  return (
    <Modal title="This image was changed elsewhere">
      <p>
        Another tab or a job saved this image after you opened it. Nothing has been overwritten. Which version do you
        want to keep? If you use theirs, Undo brings yours back.
      </p>
      <div class="choices">
        <button class="primary" onClick={() => choose(true)}>
          Keep mine
        </button>
        <button class="plain" onClick={() => choose(false)}>
          Use theirs
        </button>
      </div>
    </Modal>
  );
}
