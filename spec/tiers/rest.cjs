const { isLong, only } = require('./tiers.cjs');

module.exports = only(isLong);
