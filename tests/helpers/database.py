"""A copy of an empty MLflow database for each test: MLflow takes two seconds to create one, in 60 migrations."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

#: A process of its own, so that the creation leaves no engine and no environment variable in the tests.
PROGRAM = """
import sys
from pathlib import Path
from backproof.tracking import Store, TrackingOptions
Store.open(TrackingOptions(experiment="Default"), Path(sys.argv[1]))
"""


class Template:
    """An empty database that MLflow has created, shared by the processes of a test session."""

    def __init__(self, folder):
        self.folder = folder
        self.active = True

    @property
    def file(self):
        """The database, created at the first use."""
        with FileLock(f"{self.folder}.lock"):
            if not self.folder.exists():
                partial = self.folder.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)
                program = [sys.executable, "-c", PROGRAM, str(partial)]
                environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
                subprocess.run(program, check=True, env=environment, capture_output=True)
                partial.rename(self.folder)
        return self.folder / "mlflow.db"

    def copy_to(self, file):
        """Put the database where a store is about to be opened, unless something is there."""
        file = Path(file)
        if (
            self.active
            and not file.exists()
            and os.access(next(p for p in file.parents if p.exists()), os.W_OK)
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            # Under another name first: another process may be opening the same store.
            partial = file.with_name(f"{file.name}.{os.getpid()}")
            shutil.copy(self.file, partial)
            try:
                os.link(partial, file)
            except FileExistsError:
                pass
            finally:
                partial.unlink()
