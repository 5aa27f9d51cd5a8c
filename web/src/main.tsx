import { effect } from '@preact/signals';
import { render } from 'preact';

import { App } from './app';
import { start, stop } from './live';
import { session } from './session';

effect(() => {
    if (session.value.state === 'none') stop();
});
start();
render(<App />, document.getElementById('app')!);
