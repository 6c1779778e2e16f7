import * as store from "../store";
import { AcceptManyDialog } from "./AcceptManyDialog";
import { BaseDialog } from "./BaseDialog";
import { BeforeAfterDialog } from "./BeforeAfterDialog";
import { ConflictDialog } from "./ConflictDialog";
import { ExportDialog } from "./ExportDialog";
import { FindDialog } from "./FindDialog";
import { HelpDialog } from "./HelpDialog";
import { ImportDialog } from "./ImportDialog";

/** The dialog that is open, if any. */
export function Dialogs() {
  switch (store.dialog.value) {
    case "help":
      return <HelpDialog />;
    case "import":
      return <ImportDialog />;
    case "find":
      return <FindDialog />;
    case "accept-many":
      return <AcceptManyDialog />;
    case "base":
      return <BaseDialog />;
    case "export":
      return <ExportDialog />;
    case "before-after":
      return <BeforeAfterDialog />;
    case "conflict":
      return <ConflictDialog />;
    case null:
      return null;
  }
}
