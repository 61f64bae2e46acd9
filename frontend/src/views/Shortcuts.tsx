import { useWords } from '../words/words';
import { Dialog, IconButton } from './controls';
import { SHORTCUTS } from './keys';

export function Shortcuts({ onClose }: { onClose: () => void }) {
  const words = useWords();
  return (
    <Dialog label={words.shortcuts} onClose={onClose}>
      <div class="dialog-head">
        <h2>{words.shortcuts}</h2>
        <IconButton icon="close" label={words.close} onClick={onClose} />
      </div>
      <dl class="shortcuts">
        {SHORTCUTS.map(([name, keys]) => (
          <div key={name}>
            <dt>{words.keys[name]}</dt>
            <dd>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
