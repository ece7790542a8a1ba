// Starts Pyodide, and in it `tests.pyodide.drive`:
//     node --stack-size=6000 run.mjs PYODIDE SITE PROJECT [pytest's options]
// PYODIDE is the folder of the npm package, SITE has what the tests import, PROJECT is this repository.
import { pathToFileURL } from "node:url";

const [pyodide, site, project, ...options] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`));
const python = await loadPyodide({ env: { HOME: "/tmp", PYTHONDONTWRITEBYTECODE: "1" } });
for (const [place, folder] of [["/site", site], ["/project", project]]) {
  python.FS.mkdirTree(place);
  python.mountNodeFS(place, folder);
}
python.globals.set("options", python.toPy(options));
process.exitCode = python.runPython(`
import os, sys
sys.path[:0] = ["/site", "/project"]
os.chdir("/project")
from tests.pyodide.drive import main
main(list(options))
`);
