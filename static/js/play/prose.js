// Markdown on the screen: the parser and renderer with copying and colours.
import { copyButton } from '../ui/parts.js';
import { growing } from '../text/render.js';

const tools = {
  copy: (text) => copyButton(text, 'Copy', { class: 'slim' }),
  // Colours come when they come; code is readable without.
  highlight: (element, lang, text) => {
    import('../text/highlight.js').then(({ highlight }) => { if (element.textContent === text) highlight(element, lang,
      text); }, () => {});
  },
};

export const prose = (element) => growing(element, tools);
