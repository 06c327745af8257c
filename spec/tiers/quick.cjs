const { isLong, only } = require('./tiers.cjs');

module.exports = only((path) => !isLong(path));
