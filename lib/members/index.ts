// What users of `starlane/members` see.

/// <reference types="node" preserve="true" />

export { type Authority, createAuthority, type IssueRequest, openAuthority } from '../identity/authority.js';
export type { MemberRights } from '../identity/member-certificate.js';
export { type EnrolOptions, enrol } from '../node/enrolment/joiner.js';
export type { MemberInfo } from '../node/enrolment/member-info.js';
export { type CreatedNetwork, createNetwork, type NetworkOptions } from '../node/enrolment/network.js';
