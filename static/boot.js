// Before the first paint: what is remembered about the look. A classic script, so that it runs before any style is used.
(function () {
	'use strict';
	var look = {};
	try {
		look = JSON.parse(localStorage.getItem('lsw')) || {};
	} catch (error) { /* nothing remembered, or storage is blocked: the defaults hold */ }
	var root = document.documentElement;
	['density', 'fontSize', 'motion'].forEach(function (name) {
		if (typeof look[name] === 'string') root.setAttribute('data-' + name.toLowerCase(), look[name]);
	});
	var isDark = look.theme === 'dark' || (look.theme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
	root.setAttribute('data-theme', isDark ? 'dark' : 'light');
})();
