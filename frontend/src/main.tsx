import { render } from 'preact';

import { identity } from './keeping/identity';
import { Page } from './page';
import { App } from './views/App';
import { surround } from './views/surroundings';
import './style/page.css';

const page = new Page(await identity());
surround(page);
render(<App page={page} />, document.getElementById('page')!);
page.start();
