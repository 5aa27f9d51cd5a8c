import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { ApiError } from '../api';
import { start } from '../live';
import { Fault } from '../parts';
import { logIn } from '../session';

export function LogIn({ ended }: { ended: string }) {
    const input = useRef<HTMLInputElement>(null);
    const error = useSignal<unknown>(undefined);
    const isBusy = useSignal(false);
    useEffect(() => input.current?.focus(), []);
    const submit = async (event: Event) => {
        event.preventDefault();
        const field = input.current!;
        isBusy.value = true;
        error.value = undefined;
        try {
            await logIn(field.value.trim());
            start();
        } catch (reason) {
            const isUnknown = reason instanceof ApiError && reason.status === 401;
            error.value = isUnknown ? new ApiError(401, '', 'The daemon does not accept this token.') : reason;
            field.select();
        } finally {
            isBusy.value = false;
        }
    };
    return (
        <main class="login">
            <form onSubmit={submit}>
                <h1 id="heading" tabIndex={-1}>
                    Log in to ipvsd
                </h1>
                <p>
                    Director <b>{location.host}</b>
                </p>
                {ended && (
                    <p class="note" role="status">
                        {ended}
                    </p>
                )}
                <label for="token">Token</label>
                <input
                    id="token"
                    ref={input}
                    type="password"
                    autocomplete="current-password"
                    spellcheck={false}
                    required
                    aria-describedby="token-help"
                />
                <p id="token-help" class="small">
                    A token of the daemon's policy (<code>ipvsctl token create</code>), or a JSON Web Token. The page sends it
                    once and does not keep it; the session lasts 12 hours at most.
                </p>
                {error.value !== undefined && <Fault error={error.value} />}
                <button type="submit" class="primary" disabled={isBusy.value}>
                    Log in
                </button>
            </form>
        </main>
    );
}
