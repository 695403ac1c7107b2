// A part of TeX as MathML.
import { m } from '../core/dom.js';

const MOST_CHARS = 5000;
const MAX_DEPTH = 32;
const TOKEN = /\\(?:[a-z]+|.)|\d+(?:\.\d+)?|\S/gisu;
const table = (text) => new Map(text.split(' ').map((pair) => [pair.slice(0, -1), pair.at(-1)]));
const GREEK = 'alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho - sigma tau upsilon '
	+ 'phi chi psi omega';
const LETTERS = table('infty∞ partial∂ nabla∇ hbarℏ ellℓ emptyset∅');
const SIGNS = table('cdot⋅ times× div÷ pm± le≤ leq≤ ge≥ geq≥ ne≠ neq≠ approx≈ equiv≡ sim∼ propto∝ ll≪ gg≫ in∈ notin∉ subset⊂ '
	+ 'subseteq⊆ cup∪ cap∩ setminus∖ forall∀ exists∃ neg¬ land∧ lor∨ to→ rightarrow→ leftarrow← Rightarrow⇒ implies⇒ iff⇔ '
	+ 'mapsto↦ dots… ldots… cdots⋯ vdots⋮ ddots⋱ mid| langle⟨ rangle⟩ lfloor⌊ rfloor⌋ lceil⌈ rceil⌉ circ∘ perp⊥ int∫ '
	+ '{{ }} |‖ %% $$ && ## __');
const TALL = table('sum∑ prod∏ bigcup⋃ bigcap⋂');
const ACCENTS = table('hat^ bar¯ overline¯ vec→ tilde~ dot˙');
const DOUBLE = table('Rℝ Nℕ Zℤ Qℚ Cℂ Pℙ E𝔼');
const NAMES = /^(?:(?:arc)?(?:sin|cos|tan)h?|cot|log|ln|exp|det|dim|gcd|Pr)$/;
const LIMITS = /^(?:lim|max|min|sup|inf|arg(?:max|min))$/;
const SPACES = { ',': '.17em', ':': '.22em', ';': '.28em', ' ': '.25em', '!': '0', quad: '1em', qquad: '2em' };
const FENCES = { matrix: '', pmatrix: '()', bmatrix: '[]', vmatrix: '||', cases: '{', aligned: '', align: '', array: '' };

const sign = (text, props) => m('mo', props, text);
const fail = () => { throw new SyntaxError(); };

function greek(name) {
	const small = name.replace('var', '').toLowerCase();
	const at = GREEK.split(' ').indexOf(small);
	return at >= 0 && String.fromCharCode((name.endsWith(small) ? 0x3b1 : 0x391) + at);
}

/** A math element, or null. */
export function mathOf(source, isBlock) {
	try {
		return source.length > MOST_CHARS ? null : m('math', { display: isBlock ? 'block' : 'inline' }, parse(source));
	} catch {
		return null;
	}
}

function parse(source) {
	const tokens = [...source.matchAll(TOKEN)];
	let i = 0;
	let depth = 0;
	const peek = () => tokens[i]?.[0] ?? '';
	const next = () => (i < tokens.length ? tokens[i++][0] : fail());
	const expect = (wanted) => next() === wanted || fail();
	return row();

	/** What comes before one of `ends`, which is left. */
	function row(...ends) {
		if (++depth > MAX_DEPTH) fail();
		const all = [];
		while (i < tokens.length && !ends.includes(peek())) all.push(scripted());
		depth--;
		return all;
	}

	function scripted() {
		const name = peek().slice(1);
		const base = '^_'.includes(peek()) ? m('mrow') : atom();
		let [below, above, primes] = ['', '', ''];
		for (;;) {
			if (peek() === '_') below = next() && atom();
			else if (peek() === '^') above = next() && atom();
			else if (peek() === "'") primes += next() && '′';
			else break;
		}
		if (primes) above = m('mrow', null, sign(primes), above);
		const [both, one, other] = TALL.has(name) || LIMITS.test(name) ? ['munderover', 'munder', 'mover']
			: ['msubsup', 'msub', 'msup'];
		return below || above ? m(below && above ? both : below ? one : other, null, base, below, above) : base;
	}

	function atom() {
		const token = next();
		if (token[0] === '\\') return macro(token.slice(1));
		if (token === '{') return group('}');
		if ('}&'.includes(token)) fail();
		const tag = /\d/.test(token) ? 'mn' : /\p{L}/u.test(token) ? 'mi' : 'mo';
		return m(tag, { stretchy: 'false' }, token === '-' ? '−' : token);
	}

	function group(end, props) {
		const inside = row(end);
		expect(end);
		return m('mrow', props, inside);
	}

	/** What is in braces, as it is. */
	function words() {
		const from = tokens[i]?.index + 1;
		expect('{');
		for (let open = 1; open;) open += { '{': 1, '}': -1 }[next()] || 0;
		return source.slice(from, tokens[i - 1].index);
	}

	function macro(name) {
		const letter = LETTERS.get(name) || greek(name);
		if (letter) return m('mi', null, letter);
		if (TALL.has(name) || SIGNS.has(name)) return sign(TALL.get(name) || SIGNS.get(name));
		if (NAMES.test(name) || LIMITS.test(name)) return m('mi', null, name);
		if (name in SPACES) return m('mspace', { width: SPACES[name] });
		if (ACCENTS.has(name)) return m('mover', { accent: 'true' }, atom(), sign(ACCENTS.get(name)));
		if (/^[dt]?frac$/.test(name)) return m('mfrac', null, atom(), atom());
		if (name === 'binom') {
			return m('mrow', null, sign('('), m('mfrac', { linethickness: '0' }, atom(), atom()), sign(')'));
		}
		if (name === 'sqrt') return peek() === '[' ? root() : m('msqrt', null, atom());
		if (name === 'left') return fenced();
		if (name === 'begin') return grid(words().replace('*', ''));
		if (name === 'boxed') return m('mrow', { class: 'boxed' }, atom());
		if (name === 'mathbb') return m('mi', null, [...words()].map((each) => DOUBLE.get(each) || each).join(''));
		if (/^(?:math|operatorname)/.test(name)) return m('mi', { mathvariant: 'normal' }, words());
		if (name.startsWith('text')) return m('mtext', null, words().replace(/^ | $/g, '\u00a0'));
		return /^(?:[bB]igg?[lr]?|displaystyle|limits)$/.test(name) ? m('mrow') : fail();
	}

	function root() {
		next();
		const degree = group(']');
		return m('mroot', null, atom(), degree);
	}

	function fenced() {
		const delimiter = (token) => sign(token === '.' ? '' : SIGNS.get(token.slice(1)) || token, { stretchy: 'true' });
		return m('mrow', null, delimiter(next()), group('\\right'), delimiter(next()));
	}

	function grid(kind) {
		if (!(kind in FENCES)) fail();
		if (kind === 'array') words();
		const rows = [[]];
		for (let end = ''; end !== '\\end'; end = next()) {
			if (end === '\\\\') rows.push([]);
			rows.at(-1).push(m('mtd', null, row('&', '\\\\', '\\end')));
		}
		words();
		const [open = '', close = ''] = FENCES[kind];
		return m('mrow', null, sign(open), m('mtable', null, rows.map((cells) => m('mtr', null, cells))), sign(close));
	}
}
