import { render } from 'preact';

import { identity } from './storage/identity';
import { Page } from './page';
import { App } from './views/App';
import { syncDocument } from './views/documentState';
import './style/page.css';

const page = new Page(await identity());
syncDocument(page);
render(<App page={page} />, document.getElementById('page')!);
page.start();
