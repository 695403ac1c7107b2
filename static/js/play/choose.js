// A dialog for one model.
import { signal } from '../core/signal.js';
import { openDialog } from '../ui/dialog.js';
import { button } from '../ui/parts.js';
import { modelPicker } from './picker.js';

export function chooseModel(first, onChosen) {
  const value = signal(first);
  const dialog = openDialog({ title: 'Retry with which model?', body: () => modelPicker({ value, onchange: value.set }),
    onClose: (model) => model && onChosen(model),
    actions: [button('Cancel', { onclick: () => dialog.close() }),
      button('Retry', { kind: 'primary', onclick: () => dialog.close(value.peek()) })] });
}
