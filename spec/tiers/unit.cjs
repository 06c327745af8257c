const { isUnit, only } = require('./tiers.cjs');

module.exports = only(isUnit);
