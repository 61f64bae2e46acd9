import { render } from 'preact';

render(<p>midsentence</p>, document.getElementById('page')!);
