// The login page: logs in with the token behind # in the address, which leaves the address at once, and says what was wrong.

import { byId } from './dom.js';

const token = new URLSearchParams(location.hash.slice(1)).get('token');
const answer = location.search.slice(1);
if (location.hash !== '' || answer !== '') history.replaceState(null, '', location.pathname);

const problem = byId('problem');
if (answer === 'no') problem.textContent = 'This is not the token.';
if (answer === 'later') problem.textContent = 'Too many wrong tokens. Wait a few seconds.';
problem.hidden = problem.textContent === '';

if (token !== null && token !== '' && answer === '') {
  byId<HTMLInputElement>('token').value = token;
  byId<HTMLFormElement>('form').submit();
} else byId('token').focus();
