// The last lines of a run: the specs that were skipped, for want of what, and how to get it.

const SKIPPED = 'is skipped: ';
const INSTALL = /apt-get install (.*)$/;

module.exports = class {
  onRunComplete(_contexts, { testResults }) {
    const files = new Map();
    for (const { testFilePath, testResults: results } of testResults) {
      for (const { status, title } of results) {
        if (status !== 'pending' || !title.startsWith(SKIPPED)) continue;
        const reason = title.slice(SKIPPED.length);
        files.set(reason, (files.get(reason) ?? new Set()).add(testFilePath));
      }
    }
    if (files.size === 0) return;
    const lines = [...files].map(
      ([reason, paths]) => `  in ${paths.size} ${paths.size === 1 ? 'file' : 'files'}: ${reason}`,
    );
    const packages = new Set([...files.keys()].flatMap((reason) => INSTALL.exec(reason)?.[1].split(' ') ?? []));
    const all = packages.size > 0 ? [`All of it on Debian: apt-get install ${[...packages].sort().join(' ')}`] : [];
    // Behind the summary of jest.
    process.once('exit', () => console.error(['', 'Skipped:', ...lines.sort(), ...all].join('\n')));
  }
};
