import { useWords } from '../words/words';
import { Wordmark } from './Wordmark';

export function Welcome({ onChosen }: { onChosen: (question: string) => void }) {
  const words = useWords();
  return (
    <section class="welcome" id="welcome">
      <p class="display">
        <Wordmark />
      </p>
      <h2>{words.welcome}</h2>
      <p>{words.welcomeMore}</p>
      <ul>
        {words.examples.map((question) => (
          <li key={question}>
            <button type="button" onClick={() => onChosen(question)}>
              {question}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
