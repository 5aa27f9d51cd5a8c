// The frame around the views: navigation, the state of the connection, and who is logged in.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

import { duration } from './format';
import { age, frame, isStale, link, now, retry } from './live';
import { Fault } from './parts';
import { href, route } from './router';
import { hasSession, logOut, session } from './session';
import type { Principal } from './types';
import { Connections } from './views/connections';
import { InfoView } from './views/info';
import { LogIn } from './views/login';
import { Overview } from './views/overview';
import { ServiceView } from './views/service';
import { Services } from './views/services';
import { Settings } from './views/settings';
import { SyncDaemons } from './views/sync';

const VIEWS: [name: string, label: string, view: () => preact.JSX.Element][] = [
    ['', 'Overview', Overview],
    ['services', 'Services', Services],
    ['connections', 'Connections', Connections],
    ['sync', 'Sync daemons', SyncDaemons],
    ['settings', 'Settings', Settings],
    ['info', 'Info', InfoView],
];

/** Age in seconds from which figures are not called live. The longest interval is 6 s. */
const LATE = 15;

export function App() {
    const { segments } = route.value;
    const [name = '', id] = segments;
    const entry = VIEWS.find(([known]) => known === name);
    const current = session.value;
    const view = current.state === 'known' ? segments.join('/') : current.state;
    useEffect(() => {
        const title = id ?? entry?.[1] ?? 'Not found';
        document.title = `${current.state === 'none' ? 'Log in' : title} – ipvsd ${location.host}`;
        // A view that replaces another one is announced. The log-in has the focus in its field.
        if (document.activeElement === document.body || current.state === 'none') return;
        document.getElementById('heading')?.focus();
    }, [view]);

    if (current.state === 'none') return <LogIn ended={current.ended} />;
    const View = name === 'services' && id ? ServiceView : entry?.[2];
    return (
        <>
            <a class="skip" href="#main" onClick={skip}>
                Skip to the content
            </a>
            <header class="top">
                <span class="director">
                    ipvsd <b>{location.host}</b>
                </span>
                <nav aria-label="Views">
                    <ul>
                        {VIEWS.map(([known, label]) => (
                            <li key={known}>
                                <a href={href(known ? [known] : [])} aria-current={known === name ? 'page' : undefined}>
                                    {label}
                                </a>
                            </li>
                        ))}
                    </ul>
                </nav>
                <Freshness />
                {current.state === 'known' && <Account principal={current.principal} />}
            </header>
            <Trouble />
            <main id="main" tabIndex={-1} class={isStale.value ? 'stale' : undefined}>
                {current.state === 'known' && (View ? <View key={id ?? name} /> : <Missing />)}
            </main>
        </>
    );
}

function Missing() {
    return (
        <div class="view">
            <h1 tabIndex={-1} id="heading">
                Not found
            </h1>
            <p>
                The page has no such view. <a href={href([])}>Overview</a>
            </p>
        </div>
    );
}

function skip(event: Event): void {
    event.preventDefault();
    document.getElementById('main')?.focus();
}

/** How old the figures are. */
function Freshness() {
    const state = link.value.state;
    const isLate = (age.value ?? 0) > LATE;
    const text = state === 'connecting' ? 'Connecting' : state === 'live' && !isLate ? 'Live' : 'Not live';
    return (
        <span class={`freshness ${state}`} data-testid="freshness">
            <span aria-hidden="true" class="dot" />
            {text}
            {age.value !== undefined && <span class="age">, figures {duration(age.value)} old</span>}
        </span>
    );
}

/** What is wrong with the connection. */
function Trouble() {
    const state = link.value;
    const next = 'retryAt' in state ? Math.max(0, (state.retryAt - now.value) / 1000) : 0;
    const old = age.value === undefined ? '' : `The figures are ${duration(age.value)} old. `;
    return (
        <>
            <p class="hidden" role="status">
                {state.state === 'lost' ? 'Connection lost' : state.state === 'live' ? 'Connected' : ''}
            </p>
            {state.state === 'lost' && (
                <div class="note error banner" data-testid="lost">
                    <p>
                        <b>Connection lost {duration((now.value - state.since) / 1000)} ago.</b> {old}
                        Next attempt in {duration(next)}.
                    </p>
                    <button type="button" onClick={retry}>
                        Try now
                    </button>
                </div>
            )}
            {state.state === 'refused' && (
                <div class="banner">
                    <Fault error={state.error}>
                        <b>The daemon refuses the stream of statistics.</b> {old}Next attempt in {duration(next)}.{' '}
                    </Fault>
                </div>
            )}
            {state.state === 'unavailable' && (
                <div class="note error banner">
                    <p>
                        <b>The daemon cannot read the kernel.</b> {old}
                        {state.detail}
                    </p>
                </div>
            )}
            {frame.value?.estimation === false && (
                <p class="note banner">
                    The kernel does not update the counters of services and servers (settings run_estimation and est_cpulist): their
                    rates are not known.
                </p>
            )}
        </>
    );
}

function Account({ principal }: { principal: Principal }) {
    const error = useSignal<unknown>(undefined);
    const leave = () => logOut().catch((reason: unknown) => (error.value = reason));
    return (
        <span class="account">
            {principal.name} ({principal.role ?? 'no role'})
            {hasSession(principal) && (
                <button type="button" onClick={leave}>
                    Log out
                </button>
            )}
            {error.value !== undefined && <Fault error={error.value} />}
        </span>
    );
}
